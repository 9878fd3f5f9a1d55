//! Images as the kernel does them: loop devices, mounts and the ioctls of the file systems.
//!
//! It only hands on: what each call is lies in `disk::image`.

use super::image::{Block, Filled, Images, Unseen};
use super::real::{self, Open};
use super::{Calls, Node, Raw, Site};
use crate::disk::image::device::{self, Device};
use crate::disk::image::lock::Key;
use crate::disk::image::{Format, format, grow, point, still};
use rustix::fs::{AtFlags, FallocateFlags, IFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd};

fn descriptor(raw: Raw<'_>) -> Result<BorrowedFd<'_>, Errno> {
    match raw {
        Raw::Descriptor(descriptor) => Ok(descriptor),
        Raw::Number(_) => Err(Errno::OPNOTSUPP),
    }
}

fn boxed(device: Device) -> Box<dyn Block> {
    Box::new(device)
}

impl Images for Open {
    fn file(&self, _site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&self.0, name, flags, Mode::empty(), real::inside())?;
        Ok(Box::new(Self::from(file)))
    }

    fn write_in_place(&self, _site: Site) -> Result<(), Errno> {
        rustix::fs::ioctl_setflags(&self.0, IFlags::NOCOW)
    }

    fn allocate(&self, _site: Site, bytes: u64) -> Result<(), Errno> {
        rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes)
    }

    fn set_length(&self, _site: Site, bytes: u64) -> Result<(), Errno> {
        rustix::fs::ftruncate(&self.0, bytes)
    }

    fn length(&self, _site: Site) -> Result<u64, Errno> {
        Ok(u64::try_from(rustix::fs::fstat(&self.0)?.st_size).unwrap_or(0))
    }

    fn allocated(&self, _site: Site, name: &OsStr) -> Result<u64, Errno> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512))
    }

    fn attach(&self, _site: Site) -> Result<Box<dyn Block>, Errno> {
        device::attach(self.0.as_fd()).map(boxed)
    }

    fn attached(&self, _site: Site) -> Result<Option<Box<dyn Block>>, Errno> {
        Ok(device::find(self.0.as_fd())?.map(boxed))
    }

    fn device(
        &self,
        _site: Site,
        file: Raw<'_>,
        format: Format,
    ) -> Result<Option<Box<dyn Block>>, Errno> {
        match point::device_under(self.0.as_fd(), format)? {
            Some(number) => Ok(Device::of_number(number, descriptor(file)?)?.map(boxed)),
            None => Ok(None),
        }
    }

    fn in_use(&self, _site: Site) -> Result<Filled, Errno> {
        let stat = rustix::fs::fstatvfs(&self.0)?;
        let bytes = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        // btrfs counts none.
        let counts = stat.f_files > 0;
        let inodes = counts.then(|| (stat.f_files.saturating_sub(stat.f_ffree), stat.f_files));
        Ok(Filled { bytes, inodes })
    }

    fn give_size(&self, _site: Site, format: Format, bytes: u64) -> Result<(), Errno> {
        grow::grow(self.0.as_fd(), format, bytes)
    }

    fn shown(&self, _site: Site, name: &str) -> Result<Option<Box<dyn Calls>>, Errno> {
        let root = point::mounted(self.0.as_fd(), name)?;
        Ok(root.map(|root| Box::new(Self::from(root)) as Box<dyn Calls>))
    }

    fn unmount(&self, _site: Site, name: &str) -> Result<(), Errno> {
        point::take(self.0.as_fd(), name)
    }

    fn share(&self, _site: Site, of: Raw<'_>) -> Result<(), Errno> {
        rustix::fs::ioctl_ficlone(&self.0, descriptor(of)?)
    }

    fn shared(&self, _site: Site) -> Result<u64, Errno> {
        still::shared(self.0.as_fd())
    }

    fn write_out(&self, _site: Site) -> Result<(), Errno> {
        rustix::fs::syncfs(&self.0)
    }

    fn freeze(&self, _site: Site) -> Result<(), Errno> {
        still::freeze(self.0.as_fd())
    }

    fn thaw(&self, _site: Site) -> Result<(), Errno> {
        still::thaw(self.0.as_fd())
    }
}

impl Block for Device {
    fn number(&self) -> u32 {
        Self::number(self)
    }

    fn read_size(&self, _site: Site) -> Result<(), Errno> {
        Self::read_size(self)
    }

    fn format(&self, _site: Site, format: Format, encrypts: bool) -> Result<(), String> {
        format::make(format, &self.path(), encrypts)
    }

    fn renew(&self, _site: Site, format: Format) -> Result<(), String> {
        format::renew(format, self)
    }

    fn mount(&self, _site: Site, format: Format) -> Result<Box<dyn Unseen>, String> {
        Ok(Box::new(point::mount(self, format)?))
    }

    fn holds(&self, _site: Site, root: Raw<'_>, format: Format) -> Result<u64, Errno> {
        grow::size(descriptor(root)?, self, format)
    }
}

impl Unseen for point::Mounted {
    fn root(&self) -> &Node {
        Self::root(self)
    }

    fn encrypt(self: Box<Self>, _site: Site, key: &Key) -> Result<Box<dyn Unseen>, Errno> {
        Ok(Box::new(point::encrypt(*self, key)?))
    }

    fn open_with(self: Box<Self>, _site: Site, key: &Key) -> Result<Box<dyn Unseen>, Errno> {
        Ok(Box::new(point::unlock(*self, key)?))
    }

    fn put(self: Box<Self>, _site: Site, disk: Raw<'_>, name: &str) -> Result<Node, Errno> {
        point::put(*self, descriptor(disk)?, name)
    }
}
