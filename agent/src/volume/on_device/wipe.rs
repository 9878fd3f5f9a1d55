//! Wiping the volume of a raw device: its whole part of the device, from the beginning, as far as the header says.
//!
//! Invariant: the header says that so much is wiped only after that was synced.

use super::super::driver::Fault;
use super::OnDevice;
use crate::disk::block::header::{RESERVED, Stage};
use crate::disk::wipe::{PART, Stop, Wiper};
use crate::disk::wipes::{self, Ground};
use crate::disk::{code_of, probe::DriverKind};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use berth_model::wipe::Wipe;
use rustix::io::Errno;

impl OnDevice {
    /// Can it be wiped, and how much is that?
    pub(super) fn look_before_wipe(
        &self,
        spec: &VolumeSpec,
        method: Wipe,
    ) -> Result<Option<Bytes>, Fault> {
        let (handle, header) = self.verified()?;
        let Some(identity) = self.in_trash(&header, spec, &[Stage::Trash])? else {
            let going = self.in_trash(&header, spec, &[Stage::Going])?;
            let begun = || never(spec, method, "its deletion has begun already");
            return going.map_or(Ok(None), |_half| Err(begun()));
        };
        let ground = Ground::of_device(&handle.device);
        if let Some(why) = wipes::why_not(DriverKind::Block, ground, method) {
            return Err(never(spec, method, why));
        }
        self.refuse_used(&handle, spec)?;
        Ok(Some(identity.size))
    }

    /// Overwrites the volume's part of the device. False when it is not in the trash.
    pub(super) fn wipe_content(&self, spec: &VolumeSpec, wiper: Wiper<'_>) -> Result<bool, Fault> {
        let Some((mut at, all)) = self.begin_wipe(spec)? else { return Ok(false) };
        wiper.expect(all);
        wiper.count(at);
        while at < all {
            // Others get their turn between two parts: it may take hours.
            let _turn = self.turn();
            let (handle, header) = self.verified()?;
            if self.in_trash(&header, spec, &[Stage::Going])?.is_none() {
                return Ok(false);
            }
            self.refuse_used(&handle, spec)?;
            let length = PART.min(all - at);
            wiper.part(&handle.device, RESERVED + at, length).map_err(|stop| self.stopped(stop))?;
            at += length;
            self.set(&handle, &header.at_stage(Stage::Going).wiped_to(at), "marking")?;
        }
        Ok(true)
    }

    /// From here on no restore finds it. Where the wipe begins, or goes on, and where it ends.
    fn begin_wipe(&self, spec: &VolumeSpec) -> Result<Option<(u64, u64)>, Fault> {
        let _turn = self.turn();
        let (handle, header) = self.verified()?;
        let stages = [Stage::Trash, Stage::Going];
        let Some(identity) = self.in_trash(&header, spec, &stages)? else { return Ok(None) };
        self.refuse_used(&handle, spec)?;
        let all = identity.size.get();
        if self.in_trash(&header, spec, &stages[..1])?.is_none() {
            self.settle(&handle)?;
            return Ok(Some((header.wiped, all)));
        }
        // Half of a volume is worse than none.
        self.set(&handle, &header.at_stage(Stage::Going), "marking")?;
        Ok(Some((0, all)))
    }

    fn stopped(&self, stop: Stop) -> Fault {
        match stop {
            Stop::Io(errno) => self.failed("wiping", errno),
            Stop::Elsewhere => self.failed("wiping", Errno::OPNOTSUPP),
            Stop::Ended => {
                let text = "the agent ends: the wipe goes on after its next start";
                Fault::Unclear(Rejection::new(code_of(Errno::INTR), text))
            },
        }
    }
}

fn never(spec: &VolumeSpec, method: Wipe, why: &str) -> Fault {
    let text = format!("volume {} ({}) cannot be wiped by {method}: {why}", spec.name, spec.id);
    Fault::Failed(
        Rejection::new(ErrorCode::Unsupported, text)
            .remedy("nothing was changed; purge it with another --wipe (berth disk show says what its disk can)")
            .field("wipe"),
    )
}
