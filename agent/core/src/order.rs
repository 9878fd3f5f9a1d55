//! Disks that are added while the agent runs, and removed again: orders of the master, and what the ledger keeps of them.
//!
//! An order is a record of its own: the intent is synced before a disk is touched, and the result stays until the registry
//! has it. What is declared besides the configuration is a record too, so it is there after a restart. Invariant: a disk is
//! removed only while the ledger knows nothing on it, and one order is carried out at a time.

use crate::agent::Agent;
use crate::effect::DiskOutcome;
use crate::step::{Output, Severity};
use berth_model::agent::Disk;
use berth_model::declaration::{DiskDeclaration, DiskOrder, DiskOrderState, LedgerDiskOrder};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{DiskId, OperationId};
use berth_model::link::FromAgent;
use berth_model::record::{LedgerDisk, LedgerRecord};
use berth_model::resources::{DiskSource, Name, Resource};
use berth_model::snapshot::SnapshotState;
use berth_model::volume::VolumeState;
use std::collections::BTreeSet;

/// Orders in this life of the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskOrders {
    /// The one that is being carried out.
    busy: Option<OperationId>,
    /// What was removed: looks at the disks that were under way then still tell of it.
    removed: BTreeSet<DiskSource>,
}

impl Agent {
    /// Takes an order in.
    pub(crate) fn order_disk(&mut self, operation: OperationId, order: DiskOrder) {
        if !self.books.disk_orders().contains_key(&operation) {
            let state = match self.refuse_order(&order) {
                Ok(()) => DiskOrderState::Pending,
                Err(error) => DiskOrderState::Failed(error),
            };
            self.write_order(LedgerDiskOrder { operation, order, state });
        }
        self.tell_order(operation);
        self.continue_orders();
    }

    /// Asks for what such an order would find; nothing is changed.
    pub(crate) fn try_disk(&mut self, read: u64, order: DiskOrder) {
        match self.refuse_order(&order) {
            Ok(()) => {
                self.reads.insert(read);
                self.emit(Output::TryDisk { read, order: Box::new(order) });
            },
            Err(error) => self.tell(FromAgent::FileData { read, offset: 0, data: Err(error) }),
        }
    }

    /// What the books say against an order.
    fn refuse_order(&self, order: &DiskOrder) -> Result<(), Rejection> {
        let pending = self.books.disk_orders().values();
        let pending = pending.filter(|known| known.state == DiskOrderState::Pending);
        for other in pending {
            if other.order.collides(order) {
                let text = format!("operation {} is to {}", other.operation, other.order);
                return Err(Rejection::new(ErrorCode::ResourcesInUse, text).remedy("wait for it"));
            }
        }
        match order {
            DiskOrder::Add(declaration) => self.refuse_add(declaration),
            DiskOrder::Remove { disk, source } => self.refuse_remove(*disk, source),
        }
    }

    fn refuse_add(&self, wanted: &DiskDeclaration) -> Result<(), Rejection> {
        let exists = |text: String| Err(Rejection::new(ErrorCode::DiskExists, text));
        for disk in &self.info.disks {
            if disk.source == wanted.source {
                return exists(format!(
                    "{} is disk {} of this agent already",
                    disk.source, disk.name
                ));
            }
            if disk.name == wanted.name {
                return exists(format!("disk {} of this agent lies at {}", disk.name, disk.root));
            }
        }
        let size = wanted.size.and_then(|size| size.to_scalar().ok());
        let Some(size) = size else { return Ok(()) };
        let mut sum = self.info.declared.clone();
        sum.add(&Resource::disk(wanted.source.clone(), size)).map_err(|error| {
            let text = format!("disk {} cannot be declared: {error}", wanted.name);
            Rejection::new(ErrorCode::InvalidResources, text).remedy("give the size it has")
        })
    }

    fn refuse_remove(&self, id: DiskId, source: &DiskSource) -> Result<(), Rejection> {
        let declared = self.books.declarations().get(source);
        let Some(declared) = declared.filter(|_| !self.config.configured.contains(source)) else {
            let text =
                format!("disk {id} ({source}) is in the agent's configuration, not added to it");
            return Err(Rejection::new(ErrorCode::Unsupported, text).remedy(
                "remove it from the agent's file or flags, and restart the agent: tasks and volumes go on meanwhile",
            ));
        };
        let name = &declared.name;
        let in_use = |what: String, remedy: &str| {
            let text = format!("remove disk {name}: {what}");
            Err(Rejection::new(ErrorCode::ResourcesInUse, text).remedy(remedy))
        };
        if let Some(other) = self.info.disks.iter().find(|d| d.source == *source && d.id != id) {
            let text = format!("{source} is disk {} on this agent, not {id}", other.id);
            return Err(Rejection::new(ErrorCode::UnknownDisk, text));
        }
        let mut volumes = self.books.volumes().values();
        let on_it = |state| !matches!(state, VolumeState::Failed | VolumeState::Gone);
        if let Some(volume) = volumes.find(|v| v.spec.source == *source && on_it(v.state)) {
            let spec = &volume.spec;
            return in_use(
                format!("volume {} ({}) is on it, {}", spec.name, spec.id, volume.state),
                "delete and purge what is on it first",
            );
        }
        let mut snapshots = self.books.snapshots().values();
        let kept = |state| !matches!(state, SnapshotState::Failed | SnapshotState::Gone);
        if let Some(snapshot) = snapshots.find(|s| s.spec.of.source == *source && kept(s.state)) {
            let spec = &snapshot.spec;
            return in_use(
                format!(
                    "snapshot {} ({}) of volume {} is on it, {}",
                    spec.name, spec.id, spec.of.name, snapshot.state
                ),
                "delete the snapshots on it first; end the hold of one that is held",
            );
        }
        let known = self.info.disks.iter().find(|disk| disk.source == *source);
        if let Some(orphan) = known.and_then(|disk| disk.orphans.first()) {
            return in_use(
                format!("{} lies on it", orphan.path),
                "adopt or purge it first (berth orphan list)",
            );
        }
        let uses = |key| {
            self.books.tasks().get(key).is_some_and(|task| {
                let mut all = task.info.resources.iter();
                all.any(|resource| is_of(&resource, source))
            })
        };
        match self.books.live().iter().find(|key| uses(key)) {
            Some(key) => in_use(format!("task {key} has space on it"), "end the task first"),
            None => Ok(()),
        }
    }

    /// Forgets an order whose end the registry knows.
    pub(crate) fn forget_order(&mut self, operation: OperationId) {
        let state = self.books.disk_orders().get(&operation).map(|order| &order.state);
        if let Some(DiskOrderState::Done | DiskOrderState::Failed(_)) = state {
            self.write(LedgerRecord::DiskOrderForgotten(operation));
        }
    }

    /// Begins the first order that waits, unless one is under way.
    pub(crate) fn continue_orders(&mut self) {
        if !self.taken_in || self.disk_orders.busy.is_some() {
            return;
        }
        let mut waiting = self.books.disk_orders().values();
        let next = waiting.find(|known| known.state == DiskOrderState::Pending);
        let Some((operation, order)) = next.map(|o| (o.operation, o.order.clone())) else { return };
        self.disk_orders.busy = Some(operation);
        self.emit(Output::OrderDisk { operation, order: Box::new(order) });
    }

    /// Takes the outcome of an order in.
    pub(crate) fn disk_ordered(&mut self, operation: OperationId, outcome: DiskOutcome) {
        if self.disk_orders.busy != Some(operation) {
            return;
        }
        self.disk_orders.busy = None;
        let Some(known) = self.books.disk_orders().get(&operation).cloned() else { return };
        let order = &known.order;
        let state = match (order, outcome) {
            (DiskOrder::Add(declaration), DiskOutcome::Added { disk, remembered }) => {
                self.log(Severity::Info, format!("disk {} is added ({})", disk.name, disk.root));
                self.use_disk(declaration.clone(), *disk, remembered);
                DiskOrderState::Done
            },
            (DiskOrder::Remove { source, .. }, DiskOutcome::Removed) => {
                self.log(Severity::Info, format!("disk {source} is removed"));
                self.drop_disk(source);
                DiskOrderState::Done
            },
            (_, DiskOutcome::Failed(error)) => {
                let error = error.bounded();
                self.log(Severity::Warning, format!("{order} failed: {error}"));
                DiskOrderState::Failed(error)
            },
            (DiskOrder::Add(_) | DiskOrder::Remove { .. }, other) => {
                let text = format!("{order} ended as {other:?}");
                DiskOrderState::Failed(Rejection::new(ErrorCode::Internal, text))
            },
        };
        let is_done = state == DiskOrderState::Done;
        // Last: what it says has happened is in the ledger before it.
        self.write_order(LedgerDiskOrder { state, ..known });
        if is_done {
            self.tell_declared();
        }
        self.tell_order(operation);
        self.continue_orders();
    }

    fn use_disk(&mut self, declaration: DiskDeclaration, disk: Disk, remembered: LedgerDisk) {
        self.disk_orders.removed.remove(&disk.source);
        if self.books.disks().get(&remembered.id) != Some(&remembered) {
            self.write(LedgerRecord::Disk(remembered));
        }
        if self.books.declarations().get(&declaration.source) != Some(&declaration) {
            self.write(LedgerRecord::DiskDeclared(Box::new(declaration)));
        }
        // After a restart in between it is declared as the configured ones are.
        if !self.info.declared.iter().any(|resource| is_of(&resource, &disk.source)) {
            let size = disk.size.to_scalar().ok();
            let size = size.map(|size| Resource::disk(disk.source.clone(), size));
            if let Some(Err(error)) = size.map(|size| self.info.declared.add(&size)) {
                self.log(Severity::Error, format!("disk {} declares nothing: {error}", disk.name));
            }
        }
        // A look at the disks may have told of it before.
        let disk = Disk { added: !self.config.configured.contains(&disk.source), ..disk };
        match self.info.disks.iter_mut().find(|known| known.source == disk.source) {
            Some(known) => *known = disk,
            None => self.info.disks.push(disk),
        }
    }

    fn drop_disk(&mut self, source: &DiskSource) {
        self.write(LedgerRecord::DiskUndeclared(source.clone()));
        self.disk_orders.removed.insert(source.clone());
        self.info.disks.retain(|disk| disk.source != *source);
        self.info.declared = self.info.declared.filtered(|resource| !is_of(resource, source));
    }

    /// The disks as they are, when they were looked at while one was added or removed.
    pub(crate) fn with_orders(&self, mut disks: Vec<Disk>) -> Vec<Disk> {
        disks.retain(|disk| !self.disk_orders.removed.contains(&disk.source));
        for disk in &mut disks {
            disk.added = self.books.declarations().contains_key(&disk.source)
                && !self.config.configured.contains(&disk.source);
        }
        for known in &self.info.disks {
            if known.added && !disks.iter().any(|disk| disk.source == known.source) {
                disks.push(known.clone());
            }
        }
        disks
    }

    /// Does a look tell of a disk that was removed meanwhile, or of one that made way for another at its place?
    pub(crate) fn is_outdated(&self, disk: &LedgerDisk) -> bool {
        let mut known = self.books.disks().values();
        self.disk_orders.removed.contains(&disk.source)
            || known.any(|known| known.source == disk.source && known.id != disk.id)
    }

    /// Tells the master how an order ended, if it has.
    fn tell_order(&mut self, operation: OperationId) {
        let result = match self.books.disk_orders().get(&operation).map(|order| &order.state) {
            Some(DiskOrderState::Done) => Ok(()),
            Some(DiskOrderState::Failed(error)) => Err(error.clone()),
            Some(DiskOrderState::Pending) | None => return,
        };
        self.tell(FromAgent::DiskOrdered { ledger_seq: 0, operation, result });
    }

    /// Tells the master of every order that ended and that it may not have heard of.
    pub(crate) fn tell_orders(&mut self) {
        let all: Vec<OperationId> = self.books.disk_orders().keys().copied().collect();
        for operation in all {
            self.tell_order(operation);
        }
    }

    fn write_order(&mut self, order: LedgerDiskOrder) {
        self.write(LedgerRecord::DiskOrder(Box::new(order)));
    }
}

fn is_of(resource: &Resource, source: &DiskSource) -> bool {
    resource.name == Name::Disk && resource.disk_source() == *source
}
