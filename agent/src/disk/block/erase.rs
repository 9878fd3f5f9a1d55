//! Taking the header off a device without a volume.

use super::header::{COPIES, LENGTH, ReadError, newest};
use crate::disk::fs::Node;
use rustix::io::Errno;

/// Takes the header off: nobody's device from then on.
///
/// # Errors
/// It may be there still.
pub fn header(device: &Node) -> Result<(), Errno> {
    // The copy that counts goes last: until then the device is the disk it was.
    let last = match newest(device) {
        Ok(Some((_sequence, index, _header))) => index,
        Ok(None) | Err(ReadError::Damaged(_)) => 0,
        Err(ReadError::Io(errno)) => return Err(errno),
    };
    for index in [1 - last, last] {
        let at = COPIES.get(index).copied().unwrap_or_default();
        device.write_at(at, &[0; LENGTH])?;
        device.sync()?;
    }
    Ok(())
}
