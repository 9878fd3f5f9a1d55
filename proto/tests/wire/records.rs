//! Arbitrary values of the model: calls, messages, records, views.

use crate::audit::said;
use crate::disks::{disk_profile, disk_record, disk_request, profile_name, profile_request};
use crate::nouns::*;
use crate::roles::{quota, quota_request, role_weight, weight};
use crate::tasks::*;
use crate::transfers::{import, progress, transfer_id, transfer_order};
use crate::wipes::{ledger_wipe, wipe};
use berth_model::cell::{CellAgent, CellEvent, CellRole};
use berth_model::framework::{AcceptMode, Call, Capability, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{ClusterId, ReservationId, SessionId, TransactionId};
use berth_model::link::{Envelope, FromAgent, OutputStream, Registration, TaskReport, ToAgent};
use berth_model::offer::{Offer, Version};
use berth_model::operation::{
    Action, OfferOperation, OperationKind, OperationRecord, OperationState,
};
use berth_model::operator::{DiskChoice, Property, Request, VolumeChoice};
use berth_model::orphan::OrphanChoice;
use berth_model::record::{
    FrameworkRecord, LedgerDisk, LedgerRecord, LedgerSnapshot, LedgerTask, LedgerTaskPhase,
    LedgerVolume, RegistryRecord, ReservationRow,
};
use berth_model::transaction::{
    ConflictKind, Outcome, Placement, PlacementResult, Transaction, TransactionRecord,
};
use berth_proto::convert::LogRequest;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

pub fn cluster() -> BoxedStrategy<ClusterId> {
    any::<u128>().prop_map(ClusterId::from_u128).boxed()
}
fn reservation_id() -> BoxedStrategy<ReservationId> {
    any::<u128>().prop_map(ReservationId::from_u128).boxed()
}
fn stream() -> BoxedStrategy<OutputStream> {
    select(vec![OutputStream::Stdout, OutputStream::Stderr]).boxed()
}

pub fn offer() -> BoxedStrategy<Offer> {
    let version = (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Version { epoch, seq });
    let rest = (any::<u64>(), any::<bool>(), version);
    (offer_id(), framework(), role(), agent(), arc(), map(), resources(), rest)
        .prop_map(|(id, framework, role, agent, hostname, attributes, resources, rest)| {
            let (seq, is_optimistic, version) = rest;
            let part = |resource: &berth_model::resources::Resource| {
                is_optimistic && resource.can_be_optimistic()
            };
            Offer {
                id,
                framework,
                role,
                agent,
                hostname,
                attributes: Arc::new(attributes),
                optimistic: resources.filtered(part),
                resources,
                seq,
                version,
            }
        })
        .boxed()
}

pub fn offer_operation() -> BoxedStrategy<OfferOperation> {
    let action = prop_oneof![
        some_resources().prop_map(Action::Reserve),
        some_resources().prop_map(Action::Unreserve),
        vec(resource(), 1..3).prop_map(Action::Create),
        vec(resource(), 1..3).prop_map(Action::Destroy),
        (resource(), resource()).prop_map(|(volume, addition)| Action::Grow {
            volume: Box::new(volume),
            addition: Box::new(addition)
        }),
        (resource(), size())
            .prop_map(|(volume, subtract)| Action::Shrink { volume: Box::new(volume), subtract }),
        vec(task_info(), 1..3).prop_map(Action::Launch),
    ];
    (operation_id(), action).prop_map(|(id, action)| OfferOperation { id, action }).boxed()
}

pub fn operation_record() -> BoxedStrategy<OperationRecord> {
    let state = prop_oneof![
        Just(OperationState::Accepted),
        Just(OperationState::Done),
        rejection().prop_map(OperationState::Failed)
    ];
    (
        (operation_id(), select(OperationKind::ALL.to_vec()), any::<u64>(), of(framework())),
        (of(agent()), vec(volume_id(), 0..3), text(), state),
        (
            vec(text(), 0..3),
            time(),
            of(time()),
            of(orphan_order()),
            said(),
            of(disk_order()),
            of(snapshot_id()),
        ),
        of(wipe()),
    )
        .prop_map(
            |(
                (id, kind, fingerprint, framework),
                (agent, volumes, object, state),
                (notes, accepted, finished, orphan, said, disk, snapshot),
                wipe,
            )| OperationRecord {
                id,
                kind,
                fingerprint,
                framework,
                agent,
                volumes,
                object,
                state,
                notes,
                accepted,
                finished,
                orphan: orphan.map(Box::new),
                said,
                disk: disk.map(Box::new),
                wipe,
                snapshot,
            },
        )
        .boxed()
}

pub fn framework_info() -> BoxedStrategy<FrameworkInfo> {
    let capabilities = prop::collection::btree_set(select(vec![Capability::SharedResources]), 0..2);
    ((arc(), arc(), roles(), principal()), span(), arc(), arc(), capabilities)
        .prop_map(
            |((name, user, roles, principal), failover_timeout, url, hostname, capabilities)| {
                FrameworkInfo {
                    name,
                    user,
                    roles,
                    principal,
                    failover_timeout,
                    url,
                    hostname,
                    capabilities,
                }
            },
        )
        .boxed()
}

fn terms() -> BoxedStrategy<Terms> {
    let modes = vec![AcceptMode::Incremental, AcceptMode::AllOrNothing];
    (select(modes), of(any::<u64>())).prop_map(|(mode, if_seq)| Terms { mode, if_seq }).boxed()
}

pub fn cell_event() -> BoxedStrategy<CellEvent> {
    let part = (role(), resources(), resources())
        .prop_map(|(role, unreserved, reserved)| CellRole { role, unreserved, reserved });
    let seen = (
        (agent(), arc(), prop::collection::btree_map("[a-z]{1,4}", "[a-z]{0,4}", 0..3)),
        (any::<u64>(), any::<u64>(), text(), vec(part, 0..3)),
    )
        .prop_map(|((id, hostname, attributes), (epoch, seq, away, roles))| CellAgent {
            id,
            hostname,
            attributes: Arc::new(attributes),
            version: Version { epoch, seq },
            away,
            roles,
        });
    (any::<u64>(), any::<bool>(), any::<bool>(), vec(seen, 0..3))
        .prop_map(|(number, begins, more, agents)| CellEvent { number, begins, more, agents })
        .boxed()
}

fn transaction_id() -> BoxedStrategy<TransactionId> {
    any::<u128>().prop_map(TransactionId::from_u128).boxed()
}

fn transaction() -> BoxedStrategy<Transaction> {
    let placement =
        (agent(), any::<u64>(), of(any::<u64>()), of(role()), vec(offer_operation(), 0..3))
            .prop_map(|(agent, epoch, if_seq, role, operations)| Placement {
                agent,
                epoch,
                if_seq,
                role,
                operations,
            });
    let modes = vec![AcceptMode::Incremental, AcceptMode::AllOrNothing];
    (transaction_id(), vec(placement, 0..3), select(modes))
        .prop_map(|(id, placements, mode)| Transaction { id, placements, mode })
        .boxed()
}

fn placement_result() -> BoxedStrategy<PlacementResult> {
    use ConflictKind::{Headroom, Quota, Reserved, Resources, Stale};
    let kinds = vec![Resources, Quota, Headroom, Stale, Reserved];
    let outcome = prop_oneof![
        Just(Outcome::Done),
        (select(kinds), rejection()).prop_map(|(kind, error)| Outcome::Conflict { kind, error }),
        rejection().prop_map(Outcome::Refused),
        Just(Outcome::NotDone),
    ];
    (agent(), any::<u64>(), outcome)
        .prop_map(|(agent, seq, outcome)| PlacementResult { agent, seq, outcome })
        .boxed()
}

fn transaction_record() -> BoxedStrategy<TransactionRecord> {
    (framework(), transaction_id(), any::<u64>(), time(), vec(placement_result(), 0..3))
        .prop_map(|(framework, id, fingerprint, decided, results)| TransactionRecord {
            framework,
            id,
            fingerprint,
            decided,
            results,
        })
        .boxed()
}

pub fn call() -> BoxedStrategy<(u64, Call)> {
    let filters = || span().prop_map(|refuse| Filters { refuse });
    let call = prop_oneof![
        (framework_info(), of(framework()), roles()).prop_map(|(info, framework, suppressed)| {
            Call::Subscribe { info, framework, suppressed }
        }),
        (vec(offer_id(), 1..3), vec(offer_operation(), 0..3), filters(), terms()).prop_map(
            |(offers, operations, filters, terms)| Call::Accept {
                offers,
                operations,
                filters,
                terms
            }
        ),
        transaction().prop_map(Call::Commit),
        (vec(offer_id(), 1..3), filters())
            .prop_map(|(offers, filters)| Call::Decline { offers, filters }),
        roles().prop_map(Call::Revive),
        roles().prop_map(Call::Suppress),
        (agent(), task(), status_id()).prop_map(|(agent, task, status)| Call::Acknowledge {
            agent,
            task,
            status
        }),
        vec((task(), of(agent())), 0..3).prop_map(Call::Reconcile),
        (task(), of(agent()), of(span())).prop_map(|(task, agent, grace)| Call::Kill {
            task,
            agent,
            grace
        }),
        roles().prop_map(Call::UpdateRoles),
        Just(Call::Teardown),
    ];
    (any::<u64>(), call).boxed()
}

pub fn event() -> BoxedStrategy<Event> {
    let result = prop_oneof![vec(operation_id(), 0..3).prop_map(Ok), rejection().prop_map(Err)];
    prop_oneof![
        (framework(), any::<u64>(), some_span()).prop_map(|(framework, epoch, heartbeat)| {
            Event::Subscribed { framework, epoch, heartbeat }
        }),
        vec(offer(), 0..3).prop_map(Event::Offers),
        offer_id().prop_map(Event::Rescind),
        task_status().prop_map(Event::Status),
        operation_record().prop_map(Event::Operation),
        agent().prop_map(Event::AgentLost),
        rejection().prop_map(Event::Error),
        Just(Event::Heartbeat),
        (any::<u64>(), result).prop_map(|(call, result)| Event::Answered { call, result }),
        (any::<u64>(), transaction_id(), vec(placement_result(), 0..3)).prop_map(
            |(call, transaction, results)| Event::Committed { call, transaction, results }
        ),
    ]
    .boxed()
}

fn task_report() -> BoxedStrategy<TaskReport> {
    (task_status(), resources(), vec(volume_id(), 0..3), text(), container())
        .prop_map(|(status, resources, volumes, name, container)| TaskReport {
            status,
            resources,
            volumes,
            name,
            container,
        })
        .boxed()
}

pub fn from_agent() -> BoxedStrategy<FromAgent> {
    let session = any::<u128>().prop_map(SessionId::from_u128);
    let numbers = any::<(u64, u64, u64)>();
    let reports =
        (vec(volume_report(), 0..3), vec(task_report(), 0..3), vec(snapshot_report(), 0..3));
    let register = (agent_info(), session, of(cluster()), numbers, reports).prop_map(
        |(info, session, cluster, (epoch, revision, ledger_seq), (volumes, tasks, snapshots))| {
            FromAgent::Register(Box::new(Registration {
                info,
                session,
                cluster,
                epoch,
                revision,
                ledger_seq,
                volumes,
                tasks,
                snapshots,
            }))
        },
    );
    let data = prop_oneof![vec(any::<u8>(), 0..20).prop_map(Ok), rejection().prop_map(Err)];
    prop_oneof![
        register,
        (any::<u64>(), volume_report())
            .prop_map(|(ledger_seq, report)| FromAgent::Volume { ledger_seq, report }),
        task_status().prop_map(FromAgent::Status),
        vec(disk(), 0..3).prop_map(FromAgent::Disks),
        vec((volume_id(), measured()), 0..3).prop_map(FromAgent::Usage),
        (any::<u64>(), any::<u64>(), data).prop_map(|(read, offset, data)| FromAgent::FileData {
            read,
            offset,
            data
        }),
        any::<u64>().prop_map(|ledger_seq| FromAgent::Heartbeat { ledger_seq }),
        (any::<u64>(), snapshot_report())
            .prop_map(|(ledger_seq, report)| FromAgent::Snapshot { ledger_seq, report }),
        (any::<u64>(), operation_id(), of(rejection())).prop_map(
            |(ledger_seq, operation, error)| {
                FromAgent::OrphanPurged { ledger_seq, operation, result: error.map_or(Ok(()), Err) }
            }
        ),
        vec((volume_id(), progress()), 0..3).prop_map(FromAgent::Progress),
        agent_info().prop_map(|info| FromAgent::Declared(Box::new(info))),
        (any::<u64>(), operation_id(), of(rejection())).prop_map(
            |(ledger_seq, operation, error)| {
                FromAgent::DiskOrdered { ledger_seq, operation, result: error.map_or(Ok(()), Err) }
            }
        ),
    ]
    .boxed()
}

fn ensure_group() -> BoxedStrategy<ToAgent> {
    (group_id(), vec(snapshot_spec(), 1..3), operation_id(), of(freeze()))
        .prop_map(|(group, members, operation, freeze)| ToAgent::EnsureGroup {
            group,
            members,
            operation,
            freeze,
        })
        .boxed()
}
pub fn envelope() -> BoxedStrategy<Envelope> {
    let life = || (volume_id(), 1..u64::MAX, operation_id());
    let read = (any::<(u64, u64, u32)>(), framework(), task(), stream());
    let message = prop_oneof![
        some_span().prop_map(|heartbeat| ToAgent::Registered { heartbeat }),
        rejection().prop_map(ToAgent::Refused),
        (spec(), operation_id(), any::<bool>()).prop_map(|(spec, operation, restore)| {
            ToAgent::EnsureVolume { spec, operation, restore }
        }),
        life().prop_map(|(volume, generation, operation)| ToAgent::DestroyVolume {
            volume,
            generation,
            operation
        }),
        (life(), size()).prop_map(|((volume, generation, operation), size)| {
            ToAgent::ResizeVolume { volume, generation, size, operation }
        }),
        (life(), of(wipe())).prop_map(|((volume, generation, operation), wipe)| {
            ToAgent::PurgeVolume { volume, generation, operation, wipe }
        }),
        life().prop_map(|(volume, generation, _)| ToAgent::ForgetVolume { volume, generation }),
        (framework(), task_info(), vec(volume_use(), 0..3)).prop_map(
            |(framework, task, volumes)| ToAgent::Launch {
                framework,
                task: Box::new(task),
                volumes
            }
        ),
        (framework(), task(), of(span())).prop_map(|(framework, task, grace)| ToAgent::Kill {
            framework,
            task,
            grace
        }),
        (framework(), task(), status_id()).prop_map(|(framework, task, status)| {
            ToAgent::Acknowledge { framework, task, status }
        }),
        read.prop_map(|((read, offset, length), framework, task, stream)| ToAgent::ReadFile {
            read,
            framework,
            task,
            stream,
            offset,
            length
        }),
        Just(ToAgent::Heartbeat),
        (snapshot_spec(), operation_id(), of(freeze())).prop_map(|(spec, operation, freeze)| {
            ToAgent::EnsureSnapshot { spec, operation, freeze }
        }),
        ensure_group(),
        (snapshot_spec(), operation_id())
            .prop_map(|(spec, operation)| ToAgent::DeleteSnapshot { spec, operation }),
        snapshot_id().prop_map(|snapshot| ToAgent::ForgetSnapshot { snapshot }),
        (spec(), operation_id(), origin()).prop_map(|(spec, operation, origin)| {
            ToAgent::DeriveVolume { spec, operation, origin: Box::new(origin) }
        }),
        (life(), access()).prop_map(|((volume, generation, operation), access)| {
            ToAgent::SetAccess { volume, generation, access, operation }
        }),
        life().prop_map(|(volume, generation, operation)| ToAgent::VerifyVolume {
            volume,
            generation,
            operation
        }),
        (operation_id(), orphan_order()).prop_map(|(operation, order)| ToAgent::PurgeOrphan {
            operation,
            order: Box::new(order)
        }),
        operation_id().prop_map(|operation| ToAgent::ForgetOrphan { operation }),
        (transfer_id(), transfer_order())
            .prop_map(|(transfer, order)| ToAgent::Transfer { transfer, order }),
        (operation_id(), disk_order()).prop_map(|(operation, order)| ToAgent::OrderDisk {
            operation,
            order: Box::new(order)
        }),
        operation_id().prop_map(|operation| ToAgent::ForgetDiskOrder { operation }),
        (any::<u64>(), disk_order())
            .prop_map(|(read, order)| ToAgent::TryDisk { read, order: Box::new(order) }),
    ];
    (cluster(), any::<u64>(), any::<u64>(), message)
        .prop_map(|(cluster, epoch, revision, message)| Envelope {
            cluster,
            epoch,
            revision,
            message,
        })
        .boxed()
}

fn volume_choice() -> BoxedStrategy<VolumeChoice> {
    prop_oneof![
        volume_id().prop_map(VolumeChoice::Id),
        (of(owner()), volume_name()).prop_map(|(role, name)| VolumeChoice::Named { role, name }),
    ]
    .boxed()
}
fn orphan_choice() -> BoxedStrategy<OrphanChoice> {
    prop_oneof![
        (agent(), filled())
            .prop_map(|(agent, path)| OrphanChoice::Data { agent, path: Arc::from(path) }),
        volume_choice().prop_map(OrphanChoice::Record),
    ]
    .boxed()
}
fn create_volume() -> BoxedStrategy<Request> {
    let disk = prop_oneof![
        Just(DiskChoice::Any),
        disk_id().prop_map(DiskChoice::Id),
        filled().prop_map(|name| DiskChoice::Named(name.into())),
        source().prop_map(DiskChoice::Source),
        profile_name().prop_map(DiskChoice::Profile),
    ];
    (
        (volume_name(), owner(), principal(), size(), any::<bool>(), any::<bool>()),
        (of(agent()), disk, container_path(), access(), of(import())),
    )
        .prop_map(
            |(
                (name, role, principal, size, shared, encrypted),
                (agent, disk, container_path, access, import),
            )| {
                Request::CreateVolume {
                    name,
                    role,
                    principal,
                    size,
                    agent,
                    disk,
                    container_path,
                    access,
                    encrypted,
                    import,
                    shared,
                }
            },
        )
        .boxed()
}
pub fn request() -> BoxedStrategy<Request> {
    let choice = volume_choice();
    prop_oneof![
        (agent(), some_resources())
            .prop_map(|(agent, resources)| Request::Reserve { agent, resources }),
        (agent(), some_resources())
            .prop_map(|(agent, resources)| Request::Unreserve { agent, resources }),
        reservation_id().prop_map(|reservation| Request::Release { reservation }),
        create_volume(),
        (choice.clone(), size()).prop_map(|(volume, size)| Request::ResizeVolume { volume, size }),
        choice.clone().prop_map(|volume| Request::DestroyVolume { volume }),
        volume_id().prop_map(|volume| Request::RestoreVolume { volume }),
        (volume_id(), of(wipe())).prop_map(|(volume, wipe)| Request::PurgeVolume { volume, wipe }),
        framework().prop_map(|framework| Request::Teardown { framework }),
        (framework(), task(), of(span())).prop_map(|(framework, task, grace)| Request::KillTask {
            framework,
            task,
            grace
        }),
        disk_request().prop_map(Request::Disk),
        profile_request().prop_map(Request::Profile),
        (choice.clone(), of(snapshot_name()), principal(), of(freeze())).prop_map(
            |(volume, name, principal, freeze)| Request::CreateSnapshot {
                volume,
                name,
                principal,
                freeze
            }
        ),
        (vec(choice.clone(), 0..3), of(snapshot_name()), principal(), of(freeze())).prop_map(
            |(volumes, name, principal, freeze)| Request::CreateGroup {
                volumes,
                name,
                principal,
                freeze
            }
        ),
        snapshot_id().prop_map(|snapshot| Request::DeleteSnapshot { snapshot }),
        (snapshot_id(), any::<bool>())
            .prop_map(|(snapshot, held)| Request::HoldSnapshot { snapshot, held }),
        (choice.clone(), snapshot_id())
            .prop_map(|(volume, snapshot)| Request::RollBackVolume { volume, snapshot }),
        (choice.clone(), schedule_plan(), principal())
            .prop_map(|(volume, plan, principal)| Request::SetSchedule { volume, plan, principal }),
        choice.clone().prop_map(|volume| Request::DeleteSchedule { volume }),
        (choice, property()).prop_map(|(volume, property)| Request::Property { volume, property }),
        (snapshot_id(), volume_name(), of(owner()), principal(), container_path()).prop_map(
            |(snapshot, name, role, principal, container_path)| Request::CloneVolume {
                snapshot,
                name,
                role,
                principal,
                container_path
            }
        ),
        orphan_choice().prop_map(|orphan| Request::AdoptOrphan { orphan }),
        orphan_choice().prop_map(|orphan| Request::PurgeOrphan { orphan }),
        (agent(), declaration())
            .prop_map(|(agent, disk)| Request::AddDisk { agent, disk: Box::new(disk) }),
        disk_id().prop_map(|disk| Request::RemoveDisk { disk }),
        (volume_choice(), of(snapshot_id()))
            .prop_map(|(volume, snapshot)| Request::ExportVolume { volume, snapshot }),
        (role(), weight()).prop_map(|(role, weight)| Request::SetWeight { role, weight }),
        quota_request().prop_map(Request::Quota),
    ]
    .boxed()
}

fn property() -> BoxedStrategy<Property> {
    prop_oneof![any::<bool>().prop_map(Property::Protected), access().prop_map(Property::Access),]
        .boxed()
}

pub fn log_request() -> BoxedStrategy<LogRequest> {
    (framework(), task(), stream(), any::<u64>(), any::<bool>(), of(bytes()))
        .prop_map(|(framework, task, stream, offset, follow, tail)| LogRequest {
            framework,
            task,
            stream,
            offset,
            follow,
            tail,
        })
        .boxed()
}

pub fn row() -> BoxedStrategy<ReservationRow> {
    (reservation_id(), agent(), resource(), time())
        .prop_map(|(id, agent, resource, created)| ReservationRow { id, agent, resource, created })
        .boxed()
}

pub fn registry_record() -> BoxedStrategy<RegistryRecord> {
    let framework_record = (framework(), framework_info(), time(), of(time())).prop_map(
        |(id, info, registered, removed)| FrameworkRecord { id, info, registered, removed },
    );
    prop_oneof![
        (cluster(), any::<u64>(), any::<u64>()).prop_map(|(cluster, epoch, next_framework)| {
            RegistryRecord::Meta { cluster, epoch, next_framework }
        }),
        agent_info().prop_map(|r| RegistryRecord::Agent(Arc::new(r))),
        (agent(), any::<u64>())
            .prop_map(|(agent, ledger_seq)| RegistryRecord::AgentSeq { agent, ledger_seq }),
        row().prop_map(|r| RegistryRecord::Reservation(Arc::new(r))),
        volume().prop_map(|r| RegistryRecord::Volume(Arc::new(r))),
        framework_record.prop_map(|r| RegistryRecord::Framework(Arc::new(r))),
        operation_record().prop_map(|r| RegistryRecord::Operation(Arc::new(r))),
        disk_record().prop_map(|r| RegistryRecord::Disk(Arc::new(r))),
        disk_profile().prop_map(|r| RegistryRecord::Profile(Arc::new(r))),
        snapshot().prop_map(|r| RegistryRecord::Snapshot(Arc::new(r))),
        schedule().prop_map(|r| RegistryRecord::Schedule(Arc::new(r))),
        role_weight().prop_map(|r| RegistryRecord::Weight(Arc::new(r))),
        quota().prop_map(|r| RegistryRecord::Quota(Arc::new(r))),
        transaction_record().prop_map(|r| RegistryRecord::Transaction(Arc::new(r))),
        crate::audit::record(),
    ]
    .boxed()
}

pub fn ledger_record() -> BoxedStrategy<LedgerRecord> {
    let disk = (disk_id(), arc(), source(), arc())
        .prop_map(|(id, name, source, filesystem)| LedgerDisk { id, name, source, filesystem });
    let volume = (
        (spec(), volume_state(), of(operation_id()), any::<bool>()),
        (of(rejection()), arc(), time(), of(size()), of(origin()), of(access())),
        of(ledger_wipe()),
    )
        .prop_map(
            |(
                (spec, state, operation, restore),
                (error, driver, changed, resize, origin, setting),
                wipe,
            )| {
                let origin = origin.map(Box::new);
                LedgerVolume {
                    spec,
                    state,
                    operation,
                    restore,
                    error,
                    driver,
                    changed,
                    resize,
                    origin,
                    setting,
                    wipe,
                }
            },
        );
    let snapshot = (
        snapshot_spec(),
        snapshot_state(),
        of(operation_id()),
        of(freeze()),
        of(rejection()),
        time(),
        group(),
    )
        .prop_map(|(spec, state, operation, freeze, error, changed, group)| {
            Box::new(LedgerSnapshot { spec, state, operation, freeze, error, changed, group })
        })
        .boxed();
    let phase =
        select(vec![LedgerTaskPhase::Starting, LedgerTaskPhase::Running, LedgerTaskPhase::Ended]);
    let task = (
        (framework(), task_info(), vec(volume_use(), 0..2), container(), phase),
        (any::<bool>(), task_status(), vec(task_status(), 0..3)),
    )
        .prop_map(
            |((framework, info, volumes, container, phase), (killing, status, unacknowledged))| {
                Box::new(LedgerTask {
                    framework,
                    info,
                    volumes,
                    container,
                    phase,
                    killing,
                    status,
                    unacknowledged,
                })
            },
        );
    prop_oneof![
        cluster().prop_map(LedgerRecord::Joined),
        any::<(u64, u64)>().prop_map(|(epoch, revision)| LedgerRecord::Epoch { epoch, revision }),
        disk.prop_map(LedgerRecord::Disk),
        volume.prop_map(LedgerRecord::Volume),
        volume_id().prop_map(LedgerRecord::VolumeForgotten),
        task.prop_map(LedgerRecord::Task),
        task_key().prop_map(LedgerRecord::TaskForgotten),
        vec(snapshot.clone().prop_map(|one| *one), 0..3).prop_map(LedgerRecord::Snapshots),
        snapshot.prop_map(LedgerRecord::Snapshot),
        snapshot_id().prop_map(LedgerRecord::SnapshotForgotten),
        ledger_orphan().prop_map(|orphan| LedgerRecord::Orphan(Box::new(orphan))),
        operation_id().prop_map(LedgerRecord::OrphanForgotten),
        ledger_disk_order().prop_map(|order| LedgerRecord::DiskOrder(Box::new(order))),
        operation_id().prop_map(LedgerRecord::DiskOrderForgotten),
        declaration().prop_map(|disk| LedgerRecord::DiskDeclared(Box::new(disk))),
        source().prop_map(LedgerRecord::DiskUndeclared),
    ]
    .boxed()
}
