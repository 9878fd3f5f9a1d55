//! ADOPT_ORPHAN: a directory that somebody put back is a volume again once it is durable where it lies.

use super::super::driver::{Fault, Found};
use super::super::look::{Target, look};
use super::OnDisk;
use berth_agent_core::effect::Place;
use berth_model::volume::VolumeSpec;

impl OnDisk {
    /// Verifies what lies under the volume's own name and makes it durable. Nothing when there is nothing.
    pub(super) fn take_back_in(&self, spec: &VolumeSpec) -> Result<Option<Found>, Fault> {
        let handle = self.handle()?;
        let Some(here) = look(&self.disk, &handle, spec, Target::live(spec))? else {
            return Ok(None);
        };
        // Nobody knows who put it there and whether they synced it: its content, its name and its marker are synced
        // before the ledger says that it is there.
        self.limit(&here)
            .and_then(|()| handle.root.sync_file_system())
            .map_err(self.unclear(spec, "adopting"))?;
        self.ready(&handle, &here)?;
        Ok(Some(self.found(&here, Place::Live)))
    }
}
