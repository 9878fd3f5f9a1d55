//! Carrying out a group of snapshots: the tasks that use its volumes are stopped, everything is taken, they go on.
//!
//! First the freeze command in each of them, in order; then the kernel, which lets none of them run. Invariants: whatever
//! happens, everybody is let go, the kernel's part first, since a program that does not run cannot let go; what was taken
//! while one of them ran after all is deleted again.

use crate::container::{Frozen, Runtime, Still};
use crate::volume::Volumes;
use berth_agent_core::effect::{StandStill, VolumeEffect, VolumeOutcome};
use berth_model::error::Rejection;
use berth_model::snapshot::{Consistency, SnapshotSpec};
use std::sync::Arc;
use tokio::task::{JoinError, spawn_blocking};

/// What holds the tasks.
#[derive(Debug)]
struct Held {
    stills: Vec<Still>,
    programs: Vec<Frozen>,
    by: Consistency,
}

impl Held {
    /// Everybody goes on.
    async fn end(self) -> Result<(), Rejection> {
        let mut first = Ok(());
        for still in self.stills {
            first = first.and(still.end().await);
        }
        for program in self.programs {
            first = first.and(program.thaw().await);
        }
        first
    }
}

async fn hold(runtime: &Runtime, still: &StandStill) -> Result<Held, Rejection> {
    let by = match (still.tasks.is_empty(), &still.freeze) {
        (true, _) => Consistency::Unused,
        (false, Some(_)) => Consistency::Program,
        (false, None) => Consistency::Frozen,
    };
    let mut held = Held { stills: Vec::new(), programs: Vec::new(), by };
    let result = stop_all(runtime, still, &mut held).await;
    match result {
        Ok(()) => Ok(held),
        Err(reason) => {
            // That it let go is nothing to tell of: it was to hold nothing any more.
            held.end().await.ok();
            Err(reason)
        },
    }
}

async fn stop_all(runtime: &Runtime, still: &StandStill, held: &mut Held) -> Result<(), Rejection> {
    if let Some(freeze) = &still.freeze {
        for container in &still.tasks {
            held.programs.push(runtime.freeze(*container, freeze).await?);
        }
    }
    for container in &still.tasks {
        match runtime.stand_still(*container).await {
            Ok(stopped) => held.stills.extend(stopped),
            // The program holds it all the same.
            Err(reason) if still.freeze.is_some() => {
                tracing::info!(%container, %reason, "held by its freeze command alone");
            },
            Err(reason) => return Err(reason),
        }
    }
    Ok(())
}

/// Writes out what the volumes have to write, so that little is left to do while nobody may write. A help only: what fails
/// here fails again when it matters.
fn write_out(volumes: &Volumes, members: &[SnapshotSpec]) {
    for member in members {
        if let Ok(directory) = volumes.open_verified(&member.of) {
            rustix::fs::syncfs(directory).ok();
        }
    }
}

/// Takes the snapshots of a group at one moment, or none of them.
pub(super) async fn take(
    runtime: &Runtime,
    volumes: Arc<Volumes>,
    (members, again): (Vec<SnapshotSpec>, bool),
    still: &StandStill,
) -> Result<VolumeOutcome, JoinError> {
    let (all, wanted) = (Arc::clone(&volumes), members.clone());
    let cleared = spawn_blocking(move || {
        let left = again.then(|| all.run(&VolumeEffect::EraseGroup { members: wanted.clone() }));
        if left.as_ref().is_none_or(|left| *left == VolumeOutcome::Absent) {
            write_out(&all, &wanted);
        }
        left
    });
    if let Some(left) = cleared.await?
        && left != VolumeOutcome::Absent
    {
        return Ok(left);
    }
    let held = match hold(runtime, still).await {
        Ok(held) => held,
        Err(reason) => return Ok(VolumeOutcome::Failed(reason)),
    };
    let (all, by) = (Arc::clone(&volumes), held.by);
    let (wanted, still) = (members.clone(), StandStill::default());
    let take = VolumeEffect::TakeGroup { members: wanted, again: false, still };
    let taken = spawn_blocking(move || all.run(&take)).await;
    let let_go = held.end().await;
    match (taken?, let_go) {
        (VolumeOutcome::Taken { host_paths, consistency: _ }, Ok(())) => {
            Ok(VolumeOutcome::Taken { host_paths, consistency: by })
        },
        (VolumeOutcome::Taken { .. }, Err(reason)) => {
            let erase = VolumeEffect::EraseGroup { members };
            let erased = spawn_blocking(move || volumes.run(&erase)).await?;
            Ok(match erased {
                VolumeOutcome::Absent => VolumeOutcome::Failed(reason),
                _left => VolumeOutcome::Unclear(reason),
            })
        },
        (failed, _) => Ok(failed),
    }
}
