//! Takes up a registry: folds its records, then opens the term.

use crate::audit::resume;
use crate::boundary::{RecoverError, Step};
use crate::config::Config;
use crate::decide::export;
use crate::decide::order::ended;
use crate::event::{AgentEvent, Event, FrameworkEvent};
use crate::evolve::evolve;
use crate::state::{State, Timer};
use crate::turn::Turn;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{FrameworkId, OperationId};
use berth_model::operation::OperationKind;
use berth_model::record::RegistryRecord;
use berth_model::units::Timestamp;

pub(crate) fn recover(
    config: Config,
    records: Vec<RegistryRecord>,
    now: Timestamp,
) -> Result<(State, Step), RecoverError> {
    let next_framework = check_meta(&config, &records)?;
    let mut state = State::new(config);
    let entries = resume::entries(&records);
    fold(&mut state, now, records)?;
    resume::resume(&mut state, &entries);
    check_books(&state)?;
    let mut turn = Turn::new(&mut state, now);
    open_term(&mut turn, next_framework, now);
    let step = turn.finish();
    Ok((state, step))
}

fn check_meta(config: &Config, records: &[RegistryRecord]) -> Result<u64, RecoverError> {
    let meta = records.iter().find_map(|record| match record {
        RegistryRecord::Meta { cluster, epoch, next_framework } => {
            Some((*cluster, *epoch, *next_framework))
        },
        RegistryRecord::Agent(_)
        | RegistryRecord::AgentSeq { .. }
        | RegistryRecord::Reservation(_)
        | RegistryRecord::Volume(_)
        | RegistryRecord::Framework(_)
        | RegistryRecord::Operation(_)
        | RegistryRecord::Disk(_)
        | RegistryRecord::Profile(_)
        | RegistryRecord::Snapshot(_)
        | RegistryRecord::Schedule(_)
        | RegistryRecord::Weight(_)
        | RegistryRecord::Quota(_)
        | RegistryRecord::Transaction(_)
        | RegistryRecord::Audit(_) => None,
    });
    match meta {
        None if records.is_empty() => Ok(1),
        None => Err(RecoverError::NoMeta { records: records.len() }),
        Some((found, _, _)) if found != config.cluster => {
            Err(RecoverError::WrongCluster { found, wanted: config.cluster })
        },
        Some((_, stored, _)) if stored >= config.epoch => {
            Err(RecoverError::Epoch { stored, wanted: config.epoch })
        },
        Some((_, _, next_framework)) => Ok(next_framework),
    }
}

/// What a record needs to be there before it.
fn rank(record: &RegistryRecord) -> (u8, usize) {
    match record {
        RegistryRecord::Meta { .. } => (0, 0),
        RegistryRecord::Agent(_) => (1, 0),
        RegistryRecord::AgentSeq { .. } => (2, 0),
        RegistryRecord::Reservation(row) => (3, row.resource.stack.levels().len()),
        RegistryRecord::Volume(volume) => {
            // A quarantined volume takes what the others leave.
            (4, usize::from(volume.state == berth_model::volume::VolumeState::Quarantined))
        },
        RegistryRecord::Framework(_) => (5, 0),
        RegistryRecord::Operation(_) | RegistryRecord::Transaction(_) => (6, 0),
        RegistryRecord::Disk(_)
        | RegistryRecord::Profile(_)
        | RegistryRecord::Weight(_)
        | RegistryRecord::Quota(_) => (7, 0),
        RegistryRecord::Snapshot(_) => (8, 0),
        RegistryRecord::Schedule(_) => (9, 0),
        RegistryRecord::Audit(_) => (10, 0),
    }
}

fn fold(
    state: &mut State,
    now: Timestamp,
    mut records: Vec<RegistryRecord>,
) -> Result<(), RecoverError> {
    records.sort_by_key(rank);
    for record in records {
        let names = match &record {
            RegistryRecord::Reservation(row) => {
                Some((row.agent, format!("reservation {}", row.id)))
            },
            RegistryRecord::Volume(volume) => {
                Some((volume.agent, format!("volume {}", volume.spec.id)))
            },
            RegistryRecord::Snapshot(snapshot) => {
                Some((snapshot.agent, format!("snapshot {}", snapshot.spec.id)))
            },
            RegistryRecord::AgentSeq { agent, .. } => {
                Some((*agent, "a ledger position".to_owned()))
            },
            RegistryRecord::Disk(record) => Some((record.agent, format!("disk {}", record.disk))),
            RegistryRecord::Meta { .. }
            | RegistryRecord::Agent(_)
            | RegistryRecord::Framework(_)
            | RegistryRecord::Operation(_)
            | RegistryRecord::Profile(_)
            | RegistryRecord::Schedule(_)
            | RegistryRecord::Weight(_)
            | RegistryRecord::Quota(_)
            | RegistryRecord::Transaction(_)
            | RegistryRecord::Audit(_) => None,
        };
        if let Some((agent, object)) = names.filter(|(agent, _)| !state.agents.contains_key(agent))
        {
            let detail = format!("agent {agent} has no record");
            return Err(RecoverError::Inconsistent { object, detail });
        }
        evolve(state, now, Event::Put(record));
    }
    Ok(())
}

fn check_books(state: &State) -> Result<(), RecoverError> {
    for (id, agent) in &state.agents {
        if let Some(detail) = &agent.books.broken {
            let object = format!("agent {id}");
            return Err(RecoverError::Inconsistent { object, detail: detail.clone() });
        }
    }
    Ok(())
}

fn open_term(turn: &mut Turn<'_>, next_framework: u64, now: Timestamp) {
    let config = turn.state().config.clone();
    turn.apply(Event::Put(RegistryRecord::Meta {
        cluster: config.cluster,
        epoch: config.epoch,
        next_framework,
    }));
    turn.opened();
    let arm = |at: Timestamp, timer: Timer| AgentEvent::Armed { at, timer }.into();
    turn.apply(arm(now.after(config.heartbeat), Timer::Heartbeat));
    turn.apply(arm(now.after(config.reregister_window), Timer::ReregisterWindow));
    // A framework that was connected cannot have its time run out while no master listened.
    let away: Vec<(FrameworkId, Timestamp)> = turn
        .state()
        .frameworks
        .values()
        .filter(|framework| framework.record.removed.is_none())
        .map(|f| (f.record.id.clone(), now.after(f.record.info.failover_timeout)))
        .collect();
    for (framework, until) in away {
        turn.apply(FrameworkEvent::Cut { framework, until }.into());
    }
    // Launches that waited for their volumes were known to the former master only.
    let waiting: Vec<OperationId> = turn
        .state()
        .operations
        .values()
        .filter(|o| o.kind == OperationKind::Launch && !o.state.is_final())
        .map(|o| o.id)
        .collect();
    for operation in waiting {
        let cause = Rejection::new(
            ErrorCode::Unavailable,
            "the master was restarted before the task's volumes were ready; the task was not started",
        )
        .remedy("launch it again from a new offer");
        let end = ended(turn.state(), operation, Err(cause), Vec::new(), now);
        if let Some(event) = end {
            turn.apply(event);
        }
    }
    // So were the streams of exports.
    let sent = export::interrupted(turn.state(), now);
    for event in sent {
        turn.apply(event);
    }
}
