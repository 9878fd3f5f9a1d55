//! The session of a framework: what it says about itself, its calls, the master's events.

use super::field::{self, Choice, choice};
use super::{At, Wire};
use crate::v1;
use crate::v1::{scheduler_call as call, scheduler_event as event};
use berth_model::error::Rejection;
use berth_model::framework::{AcceptMode, Call, Capability, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{AgentId, TaskId};
use std::time::Duration;

choice!(AcceptMode, v1::AcceptMode, "mode of an ACCEPT", [Incremental, AllOrNothing]);
choice!(Capability, v1::FrameworkCapability, "capability of a framework", [SharedResources]);

impl Wire for FrameworkInfo {
    type Message = v1::FrameworkInfo;

    fn to_wire(&self) -> v1::FrameworkInfo {
        let Self { name, user, roles, principal, failover_timeout, url, hostname, capabilities } =
            self;
        v1::FrameworkInfo {
            name: name.to_string(),
            user: user.to_string(),
            roles: field::role_texts(roles),
            principal: principal.as_ref().map(ToString::to_string),
            failover_timeout_ms: field::millis(*failover_timeout),
            url: url.to_string(),
            hostname: hostname.to_string(),
            capabilities: capabilities.iter().map(|capability| capability.number()).collect(),
        }
    }

    fn from_wire(message: v1::FrameworkInfo, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::FrameworkInfo {
            name,
            user,
            roles,
            principal,
            failover_timeout_ms,
            url,
            hostname,
            capabilities,
        } = message;
        let known = at.field("capabilities");
        field::count(capabilities.len(), &known)?;
        let known = capabilities.iter().enumerate().map(|(i, n)| Choice::read(*n, &known.index(i)));
        Ok(Self {
            name: field::arc(name, &at.field("name"))?,
            user: field::arc(user, &at.field("user"))?,
            roles: field::roles(&roles, &at.field("roles"))?,
            principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
            failover_timeout: Duration::from_millis(failover_timeout_ms),
            url: field::arc(url, &at.field("url"))?,
            hostname: field::arc(hostname, &at.field("hostname"))?,
            capabilities: known.collect::<Result<_, Rejection>>()?,
        })
    }
}

impl Wire for Filters {
    type Message = v1::Filters;

    fn to_wire(&self) -> v1::Filters {
        let Self { refuse } = self;
        v1::Filters { refuse_ms: Some(field::millis(*refuse)) }
    }

    fn from_wire(message: v1::Filters, _at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Filters { refuse_ms } = message;
        Ok(refuse_ms.map_or_else(Self::default, |ms| Self { refuse: Duration::from_millis(ms) }))
    }
}

/// A call and the caller's number for it.
impl Wire for (u64, Call) {
    type Message = v1::SchedulerCall;

    fn to_wire(&self) -> v1::SchedulerCall {
        let (number, call) = self;
        v1::SchedulerCall { call: *number, body: Some(call_to_wire(call)) }
    }

    fn from_wire(message: v1::SchedulerCall, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SchedulerCall { call: number, body } = message;
        let body = body.ok_or_else(|| {
            at.field("body").invalid("the call says not what to do", "set one of its bodies")
        })?;
        Ok((number, read_call(body, at)?))
    }
}

fn call_to_wire(model: &Call) -> call::Body {
    match model {
        Call::Subscribe { info, framework, suppressed } => call::Body::Subscribe(call::Subscribe {
            info: Some(info.to_wire()),
            framework_id: framework.as_ref().map(ToString::to_string),
            suppressed_roles: field::role_texts(suppressed),
        }),
        Call::Accept { offers, operations, filters, terms: Terms { mode, if_seq } } => {
            call::Body::Accept(call::Accept {
                offer_ids: field::id_texts(offers),
                operations: field::messages(operations),
                filters: Some(filters.to_wire()),
                mode: mode.number(),
                if_seq: *if_seq,
            })
        },
        Call::Commit(transaction) => call::Body::Commit(transaction.to_wire()),
        Call::Decline { offers, filters } => call::Body::Decline(call::Decline {
            offer_ids: field::id_texts(offers),
            filters: Some(filters.to_wire()),
        }),
        Call::Revive(roles) => call::Body::Revive(call::Revive { roles: field::role_texts(roles) }),
        Call::Suppress(roles) => {
            call::Body::Suppress(call::Suppress { roles: field::role_texts(roles) })
        },
        Call::Acknowledge { agent, task, status } => call::Body::Acknowledge(call::Acknowledge {
            agent_id: agent.to_string(),
            task_id: task.to_string(),
            status_id: status.to_string(),
        }),
        Call::Reconcile(tasks) => {
            let task = |(task, agent): &(TaskId, Option<AgentId>)| call::reconcile::Task {
                task_id: task.to_string(),
                agent_id: agent.as_ref().map(ToString::to_string),
            };
            call::Body::Reconcile(call::Reconcile { tasks: tasks.iter().map(task).collect() })
        },
        Call::Kill { task, agent, grace } => call::Body::Kill(call::Kill {
            task_id: task.to_string(),
            agent_id: agent.as_ref().map(ToString::to_string),
            grace_ms: grace.map(field::millis),
        }),
        Call::UpdateRoles(roles) => {
            call::Body::UpdateRoles(call::UpdateRoles { roles: field::role_texts(roles) })
        },
        Call::Teardown => call::Body::Teardown(call::Teardown {}),
    }
}

fn read_call(body: call::Body, at: &At<'_>) -> Result<Call, Rejection> {
    match body {
        call::Body::Subscribe(message) => subscribe(message, &at.field("subscribe")),
        call::Body::Accept(message) => accept(message, &at.field("accept")),
        call::Body::Commit(message) => {
            Wire::from_wire(message, &at.field("commit")).map(Call::Commit)
        },
        call::Body::Decline(call::Decline { offer_ids, filters }) => {
            let at = at.field("decline");
            Ok(Call::Decline {
                offers: offers(&offer_ids, &at.field("offer_ids"))?,
                filters: field::optional(filters, &at.field("filters"))?.unwrap_or_default(),
            })
        },
        call::Body::Revive(call::Revive { roles }) => {
            field::roles(&roles, &at.field("revive").field("roles")).map(Call::Revive)
        },
        call::Body::Suppress(call::Suppress { roles }) => {
            field::roles(&roles, &at.field("suppress").field("roles")).map(Call::Suppress)
        },
        call::Body::Acknowledge(call::Acknowledge { agent_id, task_id, status_id }) => {
            let at = at.field("acknowledge");
            Ok(Call::Acknowledge {
                agent: field::id(&agent_id, &at.field("agent_id"))?,
                task: field::id(&task_id, &at.field("task_id"))?,
                status: field::id(&status_id, &at.field("status_id"))?,
            })
        },
        call::Body::Reconcile(message) => reconcile(message, &at.field("reconcile")),
        call::Body::Kill(call::Kill { task_id, agent_id, grace_ms }) => {
            let at = at.field("kill");
            Ok(Call::Kill {
                task: field::id(&task_id, &at.field("task_id"))?,
                agent: field::optional_id(agent_id.as_deref(), &at.field("agent_id"))?,
                grace: grace_ms.map(Duration::from_millis),
            })
        },
        call::Body::UpdateRoles(call::UpdateRoles { roles }) => {
            field::roles(&roles, &at.field("update_roles").field("roles")).map(Call::UpdateRoles)
        },
        call::Body::Teardown(call::Teardown {}) => Ok(Call::Teardown),
    }
}

fn offers<T>(texts: &[String], at: &At<'_>) -> Result<Vec<T>, Rejection>
where
    T: std::str::FromStr<Err = berth_model::id::IdError>,
{
    field::count(texts.len(), at)?;
    if texts.is_empty() {
        return Err(at.invalid("no offer is named", "give at least one offer id"));
    }
    field::ids(texts, at)
}

fn subscribe(message: call::Subscribe, at: &At<'_>) -> Result<Call, Rejection> {
    let call::Subscribe { info, framework_id, suppressed_roles } = message;
    let framework_at = at.field("framework_id");
    Ok(Call::Subscribe {
        info: field::required(info, &at.field("info"))?,
        framework: field::optional_id(framework_id.as_deref(), &framework_at)?,
        suppressed: field::roles(&suppressed_roles, &at.field("suppressed_roles"))?,
    })
}

fn accept(message: call::Accept, at: &At<'_>) -> Result<Call, Rejection> {
    let call::Accept { offer_ids, operations, filters, mode, if_seq } = message;
    let operations_at = at.field("operations");
    field::count(operations.len(), &operations_at)?;
    Ok(Call::Accept {
        offers: offers(&offer_ids, &at.field("offer_ids"))?,
        operations: field::list(operations, &operations_at)?,
        filters: field::optional(filters, &at.field("filters"))?.unwrap_or_default(),
        terms: Terms { mode: accept_mode(mode, &at.field("mode"))?, if_seq },
    })
}

/// Callers of an earlier release say nothing and mean each operation for itself.
pub(super) fn accept_mode(number: i32, at: &At<'_>) -> Result<AcceptMode, Rejection> {
    if number == v1::AcceptMode::Unspecified as i32 {
        return Ok(AcceptMode::default());
    }
    Choice::read(number, at)
}

fn reconcile(message: call::Reconcile, at: &At<'_>) -> Result<Call, Rejection> {
    let call::Reconcile { tasks } = message;
    let at = at.field("tasks");
    field::count(tasks.len(), &at)?;
    let tasks = tasks.into_iter().enumerate().map(|(index, task)| {
        let call::reconcile::Task { task_id, agent_id } = task;
        let at = at.index(index);
        let task = field::id(&task_id, &at.field("task_id"))?;
        Ok((task, field::optional_id(agent_id.as_deref(), &at.field("agent_id"))?))
    });
    tasks.collect::<Result<Vec<_>, Rejection>>().map(Call::Reconcile)
}

impl Wire for Event {
    type Message = v1::SchedulerEvent;

    fn to_wire(&self) -> v1::SchedulerEvent {
        let body = match self {
            Self::Subscribed { framework, epoch, heartbeat } => {
                event::Body::Subscribed(event::Subscribed {
                    framework_id: framework.to_string(),
                    epoch: *epoch,
                    heartbeat_ms: field::millis(*heartbeat),
                })
            },
            Self::Offers(offers) => {
                event::Body::Offers(event::Offers { offers: field::messages(offers) })
            },
            Self::Rescind(offer) => {
                event::Body::Rescind(event::Rescind { offer_id: offer.to_string() })
            },
            Self::Status(status) => event::Body::Status(status.to_wire()),
            Self::Operation(record) => event::Body::Operation(record.to_wire()),
            Self::AgentLost(agent) => {
                event::Body::AgentLost(event::AgentLost { agent_id: agent.to_string() })
            },
            Self::Error(error) => event::Body::Error(error.to_wire()),
            Self::Heartbeat => event::Body::Heartbeat(event::Heartbeat {}),
            Self::Answered { call, result } => event::Body::Answered(event::Answered {
                call: *call,
                result: Some(match result {
                    Ok(ids) => event::answered::Result::Accepted(event::Accepted {
                        operation_ids: field::id_texts(ids),
                    }),
                    Err(error) => event::answered::Result::Rejected(error.to_wire()),
                }),
            }),
            Self::Committed { call, transaction, results } => {
                event::Body::Committed(event::Committed {
                    call: *call,
                    txn_id: transaction.to_string(),
                    results: field::messages(results),
                })
            },
        };
        v1::SchedulerEvent { body: Some(body) }
    }

    fn from_wire(message: v1::SchedulerEvent, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SchedulerEvent { body } = message;
        match body.ok_or_else(|| at.field("body").missing())? {
            event::Body::Subscribed(event::Subscribed { framework_id, epoch, heartbeat_ms }) => {
                let at = at.field("subscribed");
                Ok(Self::Subscribed {
                    framework: field::id(&framework_id, &at.field("framework_id"))?,
                    epoch,
                    heartbeat: field::span(heartbeat_ms, &at.field("heartbeat_ms"))?,
                })
            },
            event::Body::Offers(event::Offers { offers }) => {
                field::list(offers, &at.field("offers").field("offers")).map(Self::Offers)
            },
            event::Body::Rescind(event::Rescind { offer_id }) => {
                field::id(&offer_id, &at.field("rescind").field("offer_id")).map(Self::Rescind)
            },
            event::Body::Status(status) => {
                Wire::from_wire(status, &at.field("status")).map(Self::Status)
            },
            event::Body::Operation(record) => {
                Wire::from_wire(record, &at.field("operation")).map(Self::Operation)
            },
            event::Body::AgentLost(event::AgentLost { agent_id }) => {
                field::id(&agent_id, &at.field("agent_lost").field("agent_id")).map(Self::AgentLost)
            },
            event::Body::Error(error) => {
                Wire::from_wire(error, &at.field("error")).map(Self::Error)
            },
            event::Body::Heartbeat(event::Heartbeat {}) => Ok(Self::Heartbeat),
            event::Body::Answered(answer) => answered(answer, &at.field("answered")),
            event::Body::Committed(event::Committed { call, txn_id, results }) => {
                let at = at.field("committed");
                Ok(Self::Committed {
                    call,
                    transaction: field::id(&txn_id, &at.field("txn_id"))?,
                    results: field::list(results, &at.field("results"))?,
                })
            },
        }
    }
}

fn answered(message: event::Answered, at: &At<'_>) -> Result<Event, Rejection> {
    let event::Answered { call, result } = message;
    let result = match result.ok_or_else(|| at.field("result").missing())? {
        event::answered::Result::Accepted(event::Accepted { operation_ids }) => {
            Ok(field::ids(&operation_ids, &at.field("accepted").field("operation_ids"))?)
        },
        event::answered::Result::Rejected(error) => {
            Err(Wire::from_wire(error, &at.field("rejected"))?)
        },
    };
    Ok(Event::Answered { call, result })
}
