//! Effects off the deciding task: volumes, disks and file reads on the blocking pool, each answered by an input.
//!
//! It decides nothing and keeps no state of volumes. The deciding code asks for one effect per volume at a time, so
//! only the number of all of them is bounded here. Invariant: every effect is answered exactly once, also when the
//! code that carries it out panics.

use super::group;
use super::places::Places;
use super::transfer::Way;
use crate::container::Runtime;
use crate::host::pace;
use crate::volume::Volumes;
use berth_agent_core::Input;
use berth_agent_core::effect::{
    ContainerEffect, DiskOutcome, Freezing, OrphanOutcome, Source, VolumeEffect, VolumeOutcome,
};
use berth_model::declaration::DiskOrder;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ClusterId, ContainerId, OperationId, TransferId, VolumeId};
use berth_model::link::OutputStream;
use berth_model::orphan::OrphanOrder;
use berth_model::snapshot::SnapshotSpec;
use berth_model::transfer::{Progress, TransferOrder};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{RwLock, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

/// Effects on volumes that are carried out at the same time.
const VOLUMES_MAX: usize = 16;
/// Volumes that get content from outside at the same time, surveys, and exports.
const IMPORTS_MAX: usize = 4;
/// Deletions and wipes that are carried out at the same time; they have slots of their own, since one may take minutes.
const PURGES_MAX: usize = 2;
/// Reads of output that are carried out at the same time.
const READS_MAX: usize = 8;
/// The most that one read answers.
const READ_BYTES_MAX: u32 = 1 << 20;
/// Answers that wait for the engine.
const ANSWERS_MAX: usize = 1024;
/// How long the engine waits at its end for what is under way.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A part of a container's output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) container: ContainerId,
    pub(super) stream: OutputStream,
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// Carries out effects.
#[derive(Debug)]
pub(super) struct Effects {
    volumes: Arc<Volumes>,
    runtime: Arc<Runtime>,
    way: Way,
    places: Places,
    answers: mpsc::Sender<Input>,
    volume_slots: Arc<Semaphore>,
    import_slots: Arc<Semaphore>,
    transfer_slots: Arc<Semaphore>,
    export_slots: Arc<Semaphore>,
    purge_slots: Arc<Semaphore>,
    read_slots: Arc<Semaphore>,
    /// Held for writing while a group of snapshots may stop tasks.
    stops: Arc<RwLock<()>>,
    tasks: JoinSet<()>,
}

impl Effects {
    pub(super) fn new(
        volumes: Arc<Volumes>,
        runtime: Arc<Runtime>,
        way: Way,
        places: Places,
    ) -> (Self, mpsc::Receiver<Input>) {
        let (answers, inputs) = mpsc::channel(ANSWERS_MAX);
        let effects = Self {
            volumes,
            runtime,
            way,
            places,
            answers,
            volume_slots: Arc::new(Semaphore::new(VOLUMES_MAX)),
            import_slots: Arc::new(Semaphore::new(IMPORTS_MAX)),
            transfer_slots: Arc::new(Semaphore::new(IMPORTS_MAX)),
            export_slots: Arc::new(Semaphore::new(IMPORTS_MAX)),
            purge_slots: Arc::new(Semaphore::new(PURGES_MAX)),
            read_slots: Arc::new(Semaphore::new(READS_MAX)),
            stops: Arc::default(),
            tasks: JoinSet::new(),
        };
        (effects, inputs)
    }

    pub(super) fn volume(&mut self, token: u64, effect: VolumeEffect) {
        let volumes = Arc::clone(&self.volumes);
        let volume = effect.spec().id;
        let (runtime, way) = (Arc::clone(&self.runtime), self.way.clone());
        let stops = Arc::clone(&self.stops);
        // What takes long has slots of its own: it must not hold up what is quick.
        let slots = match &effect {
            VolumeEffect::Import { .. } => &self.import_slots,
            VolumeEffect::Purge { .. } | VolumeEffect::Wipe { .. } => &self.purge_slots,
            _quick => &self.volume_slots,
        };
        self.spawn(Arc::clone(slots), async move {
            let ran = match effect {
                effect @ (VolumeEffect::Purge { .. } | VolumeEffect::Wipe { .. }) => {
                    let stopped = volumes.stopped();
                    spawn_blocking(move || pace::gently(&stopped, || volumes.run(&effect))).await
                },
                VolumeEffect::TakeGroup { members, again, still } => {
                    // One at a time: what one lets go must not be held by another.
                    let _alone = stops.write().await;
                    group::take(&runtime, volumes, (members, again), &still).await
                },
                VolumeEffect::Snapshot { snapshot, freeze: Some(freezing) } => {
                    // In a task that stands still its command would not run.
                    let _none_stops = stops.read().await;
                    frozen(&runtime, volumes, snapshot, &freezing).await
                },
                effect @ VolumeEffect::Import { from: Source::Stream { operation }, .. } => {
                    super::stream::imported(way, volumes, operation, effect).await
                },
                effect => spawn_blocking(move || volumes.run(&effect)).await,
            };
            let outcome = ran.unwrap_or_else(|_panic| {
                VolumeOutcome::Unclear(Rejection::new(
                    ErrorCode::Internal,
                    format!("the driver of volume {volume} failed; the agent's log says where"),
                ))
            });
            Input::Volume { volume, token, outcome }
        });
    }

    /// Dials for a transfer; nobody waits for it here.
    pub(super) fn transfer(&mut self, transfer: TransferId, order: TransferOrder) {
        let (way, volumes) = (self.way.clone(), Arc::clone(&self.volumes));
        let slots = match &order {
            TransferOrder::Survey { .. } => &self.transfer_slots,
            TransferOrder::Export { .. } => &self.export_slots,
        };
        let slots = Arc::clone(slots);
        self.reap();
        self.tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            super::transfer::run(way, transfer, order, volumes).await;
        });
    }

    /// Says why there is nothing.
    pub(super) fn refuse_transfer(&mut self, transfer: TransferId, reason: Rejection) {
        let way = self.way.clone();
        self.reap();
        self.tasks.spawn(super::transfer::refuse(way, transfer, reason));
    }

    /// How far the volumes are that get their content from outside.
    pub(super) fn progress(&self) -> Vec<(VolumeId, Progress)> {
        self.volumes.progress()
    }

    pub(super) fn container(&self, effect: ContainerEffect) {
        self.runtime.run(effect);
    }

    pub(super) fn read(&mut self, read: u64, part: Part) {
        let runtime = Arc::clone(&self.runtime);
        let Part { container, stream, offset, length } = part;
        let length = usize::try_from(length.min(READ_BYTES_MAX)).expect("a MiB fits");
        self.spawn(Arc::clone(&self.read_slots), async move {
            let ran =
                spawn_blocking(move || runtime.read_log(container, stream, offset, length)).await;
            let failed = |_panic| {
                let text = format!("the output of container {container} cannot be read");
                Err(Rejection::new(ErrorCode::Internal, text))
            };
            match ran.unwrap_or_else(failed) {
                Ok((offset, data)) => Input::FileData { read, offset, data: Ok(data) },
                Err(error) => Input::FileData { read, offset, data: Err(error) },
            }
        });
    }

    /// Looks at the disks again, and for what lies on them without being one of `known`; what is new comes as inputs.
    pub(super) fn look_at_disks(&mut self, known: BTreeSet<VolumeId>) {
        let (volumes, front) = (Arc::clone(&self.volumes), Arc::clone(&self.volumes));
        let answers = self.answers.clone();
        self.reap();
        self.tasks.spawn(async move {
            let looked = spawn_blocking(move || {
                let disks = volumes.disks();
                disks.refresh();
                (disks.ledger(), volumes.report(&known))
            });
            let Ok((adopted, mut report)) = looked.await else { return };
            // The engine is gone: nobody needs the answer.
            answers.send(Input::DisksAdopted(adopted)).await.ok();
            answers.send(Input::Disks(report.clone())).await.ok();
            // Counting may take long, and health must not wait for it.
            let counted =
                spawn_blocking(move || front.measure_orphans(&mut report).then_some(report));
            if let Ok(Some(report)) = counted.await {
                answers.send(Input::Disks(report)).await.ok();
            }
        });
    }

    /// Deletes a directory that the ledger does not know.
    pub(super) fn purge_orphan(&mut self, operation: OperationId, order: OrphanOrder) {
        let volumes = Arc::clone(&self.volumes);
        let id = order.spec.id;
        self.spawn(Arc::clone(&self.purge_slots), async move {
            let stopped = volumes.stopped();
            let purge = move || pace::gently(&stopped, || volumes.purge_orphan(&order));
            let ran = spawn_blocking(purge).await;
            let outcome = ran.unwrap_or_else(|_panic| {
                let text = format!("deleting orphan {id} failed; the agent's log says where");
                OrphanOutcome::Unclear(Rejection::new(ErrorCode::Internal, text))
            });
            Input::OrphanPurged { operation, outcome }
        });
    }

    /// Uses one more disk, or one less.
    pub(super) fn order_disk(&mut self, operation: OperationId, order: DiskOrder) {
        let (volumes, places) = (Arc::clone(&self.volumes), self.places.clone());
        let shown = order.to_string();
        self.spawn(Arc::clone(&self.volume_slots), async move {
            let ran = spawn_blocking(move || carry_out(&volumes, &places, &order)).await;
            let outcome = ran.unwrap_or_else(|_panic| {
                let text = format!("{shown} failed; the agent's log says where");
                DiskOutcome::Failed(Rejection::new(ErrorCode::Internal, text))
            });
            Input::DiskOrdered { operation, outcome }
        });
    }

    /// Looks what such an order would find.
    pub(super) fn try_disk(&mut self, read: u64, order: DiskOrder) {
        let (volumes, places) = (Arc::clone(&self.volumes), self.places.clone());
        let shown = order.to_string();
        self.spawn(Arc::clone(&self.read_slots), async move {
            let ran = spawn_blocking(move || {
                let disks = volumes.disks();
                match &order {
                    DiskOrder::Add(wanted) => disks.try_add(&places.admit(wanted)?),
                    DiskOrder::Remove { source, disk: _ } => disks.try_remove(source),
                }
            });
            let found = ran.await.unwrap_or_else(|_panic| {
                let text = format!("looking whether to {shown} failed; the agent's log says where");
                Err(Rejection::new(ErrorCode::Internal, text))
            });
            let data = found.map(|facts| facts.join("\n").into_bytes());
            Input::FileData { read, offset: 0, data }
        });
    }

    /// Names the cluster in the disks' markers; done before anything is made on them for that cluster.
    pub(super) async fn join(&self, cluster: ClusterId) {
        let volumes = Arc::clone(&self.volumes);
        if spawn_blocking(move || volumes.disks().join(cluster)).await.is_err() {
            tracing::error!(%cluster, "the disks' markers could not be written");
        }
    }

    /// Waits for what is under way, so that the next agent on these disks does not meet it.
    pub(super) async fn close(mut self) {
        self.volumes.stop();
        self.runtime.stop();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WAIT, all).await.is_err() {
            tracing::warn!(
                "effects are still under way; they are asked for again at the next start"
            );
        }
    }

    fn spawn(
        &mut self,
        slots: Arc<Semaphore>,
        effect: impl Future<Output = Input> + Send + 'static,
    ) {
        let answers = self.answers.clone();
        self.reap();
        self.tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            // The engine is gone: the effect is asked for again by the next one.
            answers.send(effect.await).await.ok();
        });
    }

    fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }
}

fn carry_out(volumes: &Volumes, places: &Places, order: &DiskOrder) -> DiskOutcome {
    match order {
        DiskOrder::Add(wanted) => {
            match places.admit(wanted).and_then(|wanted| volumes.add_disk(&wanted)) {
                Ok((disk, remembered)) => DiskOutcome::Added { disk: Box::new(disk), remembered },
                Err(reason) => DiskOutcome::Failed(reason),
            }
        },
        DiskOrder::Remove { source, disk: _ } => match volumes.remove_disk(source) {
            Ok(()) => DiskOutcome::Removed,
            Err(reason) => DiskOutcome::Failed(reason),
        },
    }
}

/// Takes a snapshot while the task that uses the volume is at rest. What was taken while it was not is deleted again.
async fn frozen(
    runtime: &Runtime,
    volumes: Arc<Volumes>,
    snapshot: SnapshotSpec,
    freezing: &Freezing,
) -> Result<VolumeOutcome, JoinError> {
    let Freezing { container, freeze } = freezing;
    let frozen = match runtime.freeze(*container, freeze).await {
        Ok(frozen) => frozen,
        Err(reason) => return Ok(VolumeOutcome::Failed(reason)),
    };
    let take = VolumeEffect::Snapshot { snapshot: snapshot.clone(), freeze: None };
    let all = Arc::clone(&volumes);
    let taken = spawn_blocking(move || all.run(&take)).await;
    // Let go in any case, also when taking it has failed.
    match frozen.thaw().await {
        Ok(()) => taken,
        Err(reason) => {
            let erase = VolumeEffect::EraseSnapshot { snapshot };
            let erased = spawn_blocking(move || volumes.run(&erase)).await?;
            Ok(match erased {
                VolumeOutcome::Absent => VolumeOutcome::Failed(reason),
                VolumeOutcome::Present { .. }
                | VolumeOutcome::Used(_)
                | VolumeOutcome::Taken { .. }
                | VolumeOutcome::Wiped
                | VolumeOutcome::Foreign(_)
                | VolumeOutcome::Failed(_)
                | VolumeOutcome::Unclear(_) => VolumeOutcome::Unclear(reason),
            })
        },
    }
}
