//! Operations inside an ACCEPT, and the records of operations.

use super::audit::{self, who_to_wire};
use super::field::{self, Choice, choice};
use super::resource::{called_sum, some, sum_to_wire};
use super::{At, Wire, wipe};
use crate::v1;
use crate::v1::offer_operation as body;
use berth_model::audit::Said;
use berth_model::error::Rejection;
use berth_model::operation::{
    Action, OfferOperation, OperationKind, OperationRecord, OperationState,
};
use berth_model::units::Timestamp;
use std::sync::Arc;

choice!(
    OperationKind,
    v1::OperationKind,
    "operation kind",
    [
        Reserve,
        Unreserve,
        Create,
        Destroy,
        Restore,
        Purge,
        Launch,
        Teardown,
        Kill,
        Grow,
        Shrink,
        Cordon,
        Uncordon,
        Label,
        CreateProfile,
        DeleteProfile,
        Snapshot,
        SnapshotGroup,
        DeleteSnapshot,
        HoldSnapshot,
        RollBack,
        Clone,
        SetSchedule,
        DeleteSchedule,
        Protect,
        Unprotect,
        SetAccess,
        AdoptOrphan,
        PurgeOrphan,
        Import,
        AddDisk,
        RemoveDisk,
        Export,
        SetWeight,
        SetQuota,
        UnsetQuota
    ]
);

/// An operation's state without its error.
#[derive(Clone, Copy)]
enum Stage {
    Accepted,
    Done,
    Failed,
}
choice!(Stage, v1::OperationState, "operation state", [Accepted, Done, Failed]);

pub(crate) fn action_to_wire(action: &Action) -> body::Action {
    match action {
        Action::Reserve(sum) => {
            body::Action::Reserve(body::Reserve { resources: sum_to_wire(sum) })
        },
        Action::Unreserve(sum) => {
            body::Action::Unreserve(body::Unreserve { resources: sum_to_wire(sum) })
        },
        Action::Create(volumes) => {
            body::Action::Create(body::Create { volumes: field::messages(volumes) })
        },
        Action::Destroy(volumes) => {
            body::Action::Destroy(body::Destroy { volumes: field::messages(volumes) })
        },
        Action::Grow { volume, addition } => body::Action::Grow(body::Grow {
            volume: Some(volume.to_wire()),
            addition: Some(addition.to_wire()),
        }),
        Action::Shrink { volume, subtract } => body::Action::Shrink(body::Shrink {
            volume: Some(volume.to_wire()),
            subtract_bytes: subtract.get(),
        }),
        Action::Launch(tasks) => {
            body::Action::Launch(body::Launch { tasks: field::messages(tasks) })
        },
    }
}

fn action(wire: body::Action, at: &At<'_>) -> Result<Action, Rejection> {
    match wire {
        body::Action::Reserve(body::Reserve { resources }) => {
            called_sum(resources, &at.field("reserve").field("resources")).map(Action::Reserve)
        },
        body::Action::Unreserve(body::Unreserve { resources }) => {
            called_sum(resources, &at.field("unreserve").field("resources")).map(Action::Unreserve)
        },
        body::Action::Create(body::Create { volumes }) => {
            let create = at.field("create");
            let at = create.field("volumes");
            some(volumes.len(), &at)?;
            field::list(volumes, &at).map(Action::Create)
        },
        body::Action::Destroy(body::Destroy { volumes }) => {
            let destroy = at.field("destroy");
            let at = destroy.field("volumes");
            some(volumes.len(), &at)?;
            field::list(volumes, &at).map(Action::Destroy)
        },
        body::Action::Grow(body::Grow { volume, addition }) => {
            let at = at.field("grow");
            Ok(Action::Grow {
                volume: Box::new(field::required(volume, &at.field("volume"))?),
                addition: Box::new(field::required(addition, &at.field("addition"))?),
            })
        },
        body::Action::Shrink(body::Shrink { volume, subtract_bytes }) => {
            let at = at.field("shrink");
            Ok(Action::Shrink {
                volume: Box::new(field::required(volume, &at.field("volume"))?),
                subtract: field::volume_size(subtract_bytes, &at.field("subtract_bytes"))?,
            })
        },
        body::Action::Launch(body::Launch { tasks }) => {
            let launch = at.field("launch");
            let at = launch.field("tasks");
            field::count(tasks.len(), &at)?;
            if tasks.is_empty() {
                return Err(at.invalid("no task is given", "give at least one"));
            }
            field::list(tasks, &at).map(Action::Launch)
        },
    }
}

impl Wire for OfferOperation {
    type Message = v1::OfferOperation;

    fn to_wire(&self) -> v1::OfferOperation {
        let Self { id, action } = self;
        v1::OfferOperation { operation_id: id.to_string(), action: Some(action_to_wire(action)) }
    }

    fn from_wire(message: v1::OfferOperation, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::OfferOperation { operation_id, action: wire } = message;
        let wire = wire.ok_or_else(|| {
            at.field("action").invalid(
                "the operation says not what to do",
                "set one of reserve, unreserve, create, destroy and launch",
            )
        })?;
        Ok(Self {
            id: field::id(&operation_id, &at.field("operation_id"))?,
            action: action(wire, at)?,
        })
    }
}

impl Wire for OperationRecord {
    type Message = v1::OperationRecord;

    fn to_wire(&self) -> v1::OperationRecord {
        let Self {
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
            orphan,
            // A record is of what was meant.
            said: Said { who, reason, in_earnest: _ },
            disk,
            wipe,
            snapshot,
        } = self;
        let (stage, error) = match state {
            OperationState::Accepted => (Stage::Accepted, None),
            OperationState::Done => (Stage::Done, None),
            OperationState::Failed(error) => (Stage::Failed, Some(error.to_wire())),
        };
        v1::OperationRecord {
            operation_id: id.to_string(),
            kind: kind.number(),
            fingerprint: *fingerprint,
            framework_id: framework.as_ref().map(ToString::to_string),
            agent_id: agent.as_ref().map(ToString::to_string),
            volume_ids: field::id_texts(volumes),
            object: object.clone(),
            state: stage.number(),
            error,
            notes: notes.clone(),
            accepted_ms: accepted.ms(),
            finished_ms: finished.map(Timestamp::ms),
            orphan: orphan.as_deref().map(Wire::to_wire),
            who: who_to_wire(who),
            reason: reason.as_ref().map(ToString::to_string),
            disk: disk.as_deref().map(Wire::to_wire),
            wipe: wipe::number(*wipe),
            snapshot_id: snapshot.as_ref().map(ToString::to_string),
        }
    }

    fn from_wire(message: v1::OperationRecord, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::OperationRecord {
            operation_id,
            kind,
            fingerprint,
            framework_id,
            agent_id,
            volume_ids,
            object,
            state,
            error,
            notes,
            accepted_ms,
            finished_ms,
            orphan,
            who: caller,
            reason,
            disk,
            wipe,
            snapshot_id,
        } = message;
        let error_at = at.field("error");
        let state = match (Stage::read(state, &at.field("state"))?, error) {
            (Stage::Accepted, None) => OperationState::Accepted,
            (Stage::Done, None) => OperationState::Done,
            (Stage::Failed, error) => OperationState::Failed(field::required(error, &error_at)?),
            (Stage::Accepted | Stage::Done, Some(_)) => {
                return Err(error_at.invalid(
                    "an operation that has not failed carries an error",
                    "remove it, or set the state to OPERATION_STATE_FAILED",
                ));
            },
        };
        Ok(Self {
            id: field::id(&operation_id, &at.field("operation_id"))?,
            kind: OperationKind::read(kind, &at.field("kind"))?,
            fingerprint,
            framework: field::optional_id(framework_id.as_deref(), &at.field("framework_id"))?,
            agent: field::optional_id(agent_id.as_deref(), &at.field("agent_id"))?,
            volumes: field::ids(&volume_ids, &at.field("volume_ids"))?,
            object,
            state,
            notes,
            accepted: Timestamp::from_ms(accepted_ms),
            finished: field::point(finished_ms),
            orphan: field::optional(orphan, &at.field("orphan"))?.map(Box::new),
            said: Said {
                who: audit::who(caller, &at.field("who"))?,
                reason: reason.map(Arc::from),
                in_earnest: false,
            },
            disk: field::optional(disk, &at.field("disk"))?.map(Box::new),
            wipe: wipe::read(wipe, &at.field("wipe"))?,
            snapshot: field::optional_id(snapshot_id.as_deref(), &at.field("snapshot_id"))?,
        })
    }
}
