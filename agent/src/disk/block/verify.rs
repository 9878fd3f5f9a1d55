//! Is the device the disk it should be? One that nothing is on and nobody knows is made a disk; every other is recognised
//! by its header or refused with the evidence.
//!
//! Invariant: a refusal has written nothing.

use super::facts::Facts;
use super::header::{self, Header, RESERVED, ReadError};
use super::{BlockDisk, Handle, State, faulty, signature};
use crate::disk::{code_of, fs, is_broken};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::DiskId;
use berth_model::record::LedgerDisk;
use berth_model::units::Bytes;
use rustix::io::Errno;
use std::sync::Arc;

impl BlockDisk {
    /// Opens the device when it is not open, and reads and checks its header. A refusal says whether what is on the device
    /// is unclear from now on.
    pub(super) fn verify(&self, state: &mut State) -> Result<Header, (Rejection, bool)> {
        let failed = |doing: &str| {
            let text = format!("{doing} the device {} failed", self.path.display());
            move |errno: Errno| {
                (Rejection::new(code_of(errno), format!("{text} ({errno})")), is_broken(errno))
            }
        };
        let sound = |reason: Rejection| (reason, false);
        let number = fs::device_number(&*self.files, &self.path)
            .map_err(|errno| sound(self.missing(errno)))?;
        let handle = match state.handle.take().filter(|handle| handle.facts.number == number) {
            Some(handle) => handle,
            None => Arc::new(self.hold().map_err(sound)?),
        };
        let mut header = match header::read(&handle.device) {
            Ok(Some(header)) => {
                self.recognise(&header, state, &handle.facts).map_err(sound)?;
                header
            },
            Ok(None) => {
                let fresh = self.refuse_used(state, &handle).map_err(sound)?;
                header::write(&handle.device, &fresh).map_err(failed("marking"))?;
                fresh
            },
            Err(ReadError::Damaged(error)) => {
                let text = format!("the header of {} is damaged: {error}", self.path.display());
                return Err(sound(faulty(text)));
            },
            Err(ReadError::Io(errno)) => return Err(failed("reading")(errno)),
        };
        if state.known.is_none() {
            // Whoever wrote it may have died before it was synced, and now the ledger will rely on it.
            header::settle(&handle.device).map_err(failed("syncing"))?;
        }
        if let (None, Some(_)) = (header.cluster, state.cluster) {
            header.cluster = state.cluster;
            if let Some((_stage, identity)) = &mut header.volume {
                identity.home.cluster = state.cluster;
            }
            header::write(&handle.device, &header).map_err(failed("marking"))?;
        }
        let room = handle.room();
        state.id = header.disk;
        state.size = self.declaration.size.map_or(room, |declared| declared.min(room));
        state.free = if header.volume.is_some() { Bytes::default() } else { state.size };
        state.media = handle.facts.media;
        state.known = Some(LedgerDisk {
            id: header.disk,
            name: Arc::from(self.declaration.name.as_str()),
            source: self.declaration.source.clone(),
            filesystem: Arc::from(header.serial.as_str()),
        });
        state.handle = Some(handle);
        Ok(header)
    }

    /// Is it a disk of this agent already, and how large can its volume be? Nothing is written.
    pub(in crate::disk) fn examine(&self) -> Result<(bool, Bytes), Rejection> {
        let state = self.state();
        let handle = self.hold()?;
        let shown = self.path.display();
        match header::read(&handle.device) {
            Ok(Some(header)) => self.recognise(&header, &state, &handle.facts)?,
            Ok(None) => drop(self.refuse_used(&state, &handle)?),
            Err(ReadError::Damaged(error)) => {
                return Err(faulty(format!("the header of {shown} is damaged: {error}")));
            },
            Err(ReadError::Io(errno)) => {
                return Err(faulty(format!("reading the device {shown} failed ({errno})")));
            },
        }
        let is_disk = matches!(header::read(&handle.device), Ok(Some(_)));
        Ok((is_disk, handle.room()))
    }

    /// Opens the device for this agent alone.
    fn hold(&self) -> Result<Handle, Rejection> {
        let shown = self.path.display();
        let device = fs::device(&*self.files, &self.path).map_err(|errno| match errno {
            Errno::BUSY => faulty(format!(
                "the device {shown} is in use: it, or a part of it, is mounted or held by another program"
            ))
            .remedy("see lsblk and /proc/mounts; unmount it, or declare another device"),
            other => self.missing(other),
        })?;
        let facts = device
            .facts()
            .map_err(|errno| faulty(format!("the device {shown} does not answer ({errno})")))?;
        if facts.read_only {
            let text = format!("the device {shown} is read-only");
            return Err(Rejection::new(ErrorCode::DiskReadOnly, text)
                .remedy("find out why in the kernel log (blockdev --getro DEVICE)"));
        }
        let handle = Handle { device, facts };
        if handle.room() == Bytes::default() {
            return Err(faulty(format!("the device {shown} is smaller than 2 MiB")));
        }
        Ok(handle)
    }

    fn missing(&self, errno: Errno) -> Rejection {
        let shown = self.path.display();
        match errno {
            Errno::NOENT => faulty(format!("there is no device {shown}"))
                .remedy("attach it; names such as /dev/disk/by-id/… stay the same after a restart"),
            Errno::NOTBLK => faulty(format!("{shown} is no block device"))
                .remedy("declare a directory with type=path"),
            Errno::PERM | Errno::ACCESS => {
                let text = format!("the device {shown} cannot be opened ({errno})");
                Rejection::new(ErrorCode::NotPrivileged, text).remedy("run the agent as root")
            },
            other => faulty(format!("the device {shown} cannot be opened ({other})")),
        }
    }

    fn recognise(&self, header: &Header, state: &State, facts: &Facts) -> Result<(), Rejection> {
        let (shown, id) = (self.path.display(), header.disk);
        if header.agent != self.agent {
            return Err(faulty(format!(
                "the disk {id} at {shown} belongs to agent {}, this is agent {}",
                header.agent, self.agent
            ))
            .remedy("attach it to the agent it belongs to"));
        }
        if let (Some(found), Some(own)) = (header.cluster, state.cluster)
            && found != own
        {
            return Err(faulty(format!(
                "the disk {id} at {shown} belongs to cluster {found}, this agent to cluster {own}"
            )));
        }
        if let Some(known) = state.known.as_ref().filter(|known| known.id != id) {
            return Err(faulty(format!(
                "at {shown} lies disk {id}, where this agent's ledger knows disk {}",
                known.id
            ))
            .remedy("attach each device at the path it was declared with"));
        }
        if !header.serial.is_empty() && !facts.serial.is_empty() && header.serial != facts.serial {
            return Err(faulty(format!(
                "the disk {id} at {shown} is a copy: it was made on device {}, this is device {}",
                header.serial, facts.serial
            ))
            .remedy("attach the original; a copy of a raw device is not taken for it"));
        }
        if let Some((_stage, identity)) = &header.volume {
            let end = identity.size.get().saturating_add(RESERVED);
            if end > facts.bytes {
                return Err(faulty(format!(
                    "the device {shown} has {}, its volume {} ends at {}",
                    Bytes::new(facts.bytes),
                    identity.id,
                    Bytes::new(end)
                ))
                .remedy("the device was cut off: enlarge it, or restore it from a backup"));
            }
        }
        Ok(())
    }

    /// A device without a header becomes a disk only when nothing says that it is anybody's.
    fn refuse_used(&self, state: &State, handle: &Handle) -> Result<Header, Rejection> {
        let shown = self.path.display();
        if let Some(known) = &state.known {
            return Err(faulty(format!(
                "the device {shown} carries no header, but disk {} was there: it is another device, or it was overwritten",
                known.id
            ))
            .remedy("attach the disk's own device; nothing is written to this one"));
        }
        let Facts { bytes, serial, .. } = &handle.facts;
        let found = signature::find(&handle.device, 0, *bytes)
            .map_err(|errno| faulty(format!("reading the device {shown} failed ({errno})")))?;
        if let Some(what) = found {
            return Err(faulty(format!(
                "the device {shown} holds {what}: it is not taken over"
            ))
            .remedy(format!(
                "declare another device; if what is on it may go, overwrite its first and last MiB (wipefs -a {shown}, dd if=/dev/zero of={shown} bs=1M count=1)"
            )));
        }
        Ok(Header {
            disk: DiskId::from_u128(uuid::Uuid::new_v4().as_u128()),
            agent: self.agent,
            cluster: state.cluster,
            serial: serial.clone(),
            wiped: 0,
            volume: None,
        })
    }
}
