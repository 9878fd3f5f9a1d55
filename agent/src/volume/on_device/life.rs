//! The two ends of the life of a device's volume: it is made on an empty device, and leaves one.

use super::super::driver::Fault;
use super::OnDevice;
use crate::disk::block::header::{Header, RESERVED, Stage};
use crate::disk::block::{Handle, signature};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::volume::VolumeSpec;

impl OnDevice {
    /// A new volume gets a device that has nothing of anybody.
    pub(super) fn make(
        &self,
        handle: &Handle,
        header: &Header,
        spec: &VolumeSpec,
    ) -> Result<(), Fault> {
        let shown = self.disk.path().display();
        if spec.size > handle.room() {
            let text =
                format!("volume {} needs {}, {shown} has {}", spec.id, spec.size, handle.room());
            return Err(Fault::Failed(
                Rejection::new(ErrorCode::DiskFull, text).remedy("use a larger device"),
            ));
        }
        let found = signature::find(&handle.device, RESERVED, handle.end())
            .map_err(|errno| self.failed("reading", errno))?;
        if let Some(what) = found {
            let text = format!("the device {shown} holds {what}: no volume is made on it");
            return Err(Fault::Failed(
                Rejection::new(ErrorCode::DirectoryExists, text)
                    .remedy("look what it is; nothing was overwritten"),
            ));
        }
        self.set(handle, &header.with(Stage::Live, spec), "marking")
    }

    /// Completes a deletion whose beginning is in the header, durable.
    pub(super) fn finish(&self, handle: &Handle, header: &Header) -> Result<(), Fault> {
        signature::wipe(&handle.device, RESERVED, handle.end())
            .map_err(|errno| self.failed("wiping", errno))?;
        self.set(handle, &header.empty(), "marking")
    }
}
