//! The scheduler's calls, as the master answers them.

use super::plan::Plan;
use super::{Cluster, Task, Volume, uses};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event};
use berth_model::id::{AgentId, FrameworkId, OfferId, OperationId, TaskId, VolumeId};
use berth_model::operation::{Action, OfferOperation, OperationKind, OperationState};
use berth_model::resources::Resources;
use berth_model::task::{TaskReason, TaskState};
use std::time::Duration;

impl Cluster {
    pub(super) fn call(&mut self, number: u64, call: Call) {
        assert!(self.connected, "a call without a session: {call:?}");
        match call {
            Call::Subscribe { info, framework, suppressed } => {
                assert!(framework.is_none() || framework == Some(FrameworkId::new("f").unwrap()));
                self.roles = info.roles;
                self.suppressed = suppressed;
                let framework = FrameworkId::new("f").unwrap();
                self.events.push_back(Event::Subscribed {
                    framework,
                    epoch: 1,
                    heartbeat: Duration::from_secs(15),
                });
                let repeated = self.tasks.values().filter_map(|task| task.unacknowledged.clone());
                self.events.extend(repeated.map(Event::Status));
            },
            Call::Accept { offers, operations, .. } => self.accepted(number, &offers, &operations),
            Call::Decline { offers, .. } => drop(self.take_back(&offers)),
            Call::Revive(roles) => {
                self.suppressed.retain(|role| !roles.contains(role));
                self.filtered.retain(|role| !roles.contains(role));
            },
            Call::Suppress(roles) => self.suppressed.extend(roles),
            Call::Acknowledge { task, status, .. } => {
                if let Some(task) = self.tasks.get_mut(&task)
                    && task.unacknowledged.as_ref().and_then(|u| u.id) == Some(status)
                {
                    task.unacknowledged = None;
                }
            },
            Call::Reconcile(tasks) => self.reconcile(&tasks),
            Call::Kill { task, .. } => {
                if self
                    .tasks
                    .get(&task)
                    .is_some_and(|t| t.state == TaskState::Staging || t.state == TaskState::Running)
                {
                    self.task_is_killed(&task);
                } else {
                    self.reconcile(&[(task, None)]);
                }
            },
            Call::UpdateRoles(roles) => {
                self.roles = roles;
                self.events.push_back(Event::Answered { call: number, result: Ok(Vec::new()) });
            },
            Call::Teardown => panic!("nobody asked for a teardown"),
            Call::Commit(_) => panic!("the scheduler commits by offers only"),
        }
    }

    fn reconcile(&mut self, tasks: &[(TaskId, Option<AgentId>)]) {
        let all: Vec<(TaskId, Option<AgentId>)> = if tasks.is_empty() {
            self.tasks.keys().map(|id| (id.clone(), None)).collect()
        } else {
            tasks.to_vec()
        };
        for (id, agent) in all {
            let known = self
                .tasks
                .get(&id)
                .filter(|t| !t.state.is_terminal() || t.unacknowledged.is_some());
            let known = known.map(|t| (t.state, t.agent));
            let state = match known {
                Some((state, agent)) if !state.is_terminal() && !self.agents[agent].up => {
                    TaskState::Unreachable
                },
                Some((state, _)) => state,
                None if tasks.is_empty() => continue,
                None => match agent.and_then(|id| self.agents.iter().find(|a| a.id == id)) {
                    Some(agent) if !agent.up => TaskState::Unreachable,
                    Some(_) => TaskState::Gone,
                    None => TaskState::Unknown,
                },
            };
            let status = self.status(&id, state, TaskReason::Reconciliation, false);
            self.events.push_back(Event::Status(status));
        }
    }

    fn take_back(&mut self, offers: &[OfferId]) -> Option<(usize, Resources)> {
        let mut whole = None;
        for id in offers {
            let found = self.agents.iter().position(|agent| agent.offered.contains_key(id));
            let index = found?;
            let resources = self.agents[index].offered.remove(id)?;
            self.agents[index].free.add_all(&resources).unwrap();
            let (_, sum): &mut (usize, Resources) =
                whole.get_or_insert_with(|| (index, Resources::new()));
            sum.add_all(&resources).unwrap();
        }
        whole
    }

    /// The answer, then what became of operations that end by themselves.
    fn accepted(&mut self, call: u64, offers: &[OfferId], operations: &[OfferOperation]) {
        let destroys = |o: &&OfferOperation| o.action.kind() == OperationKind::Destroy;
        self.destroys += u32::try_from(operations.iter().filter(destroys).count()).unwrap();
        let result = self.accept(offers, operations);
        let ends = std::mem::take(&mut self.ends);
        self.events.push_back(Event::Answered { call, result });
        for (id, kind, state) in ends {
            self.say_operation(id, kind, Vec::new(), state);
        }
    }

    /// All or nothing, unless pipelined.
    fn accept(
        &mut self,
        offers: &[OfferId],
        operations: &[OfferOperation],
    ) -> Result<Vec<OperationId>, Rejection> {
        let stale = || Rejection::new(ErrorCode::StaleOffer, "the offer is gone");
        let (index, left) = self.take_back(offers).ok_or_else(stale)?;
        let offered = left.clone();
        let mut plan = Plan { left, ..Plan::default() };
        for operation in operations {
            let before = plan.clone();
            let Err(why) = plan.take(operation, &self.volumes, &mut self.refusal) else { continue };
            if !(self.pipelined && why.code == ErrorCode::VolumeExists) {
                return Err(why);
            }
            self.refuse_create(operations, operation.id, why);
            self.carry_out(index, &offered, before);
            return Ok(Vec::new());
        }
        self.carry_out(index, &offered, plan);
        Ok(operations.iter().map(|operation| operation.id).collect())
    }

    fn refuse_create(&mut self, operations: &[OfferOperation], id: OperationId, why: Rejection) {
        self.say_operation(id, OperationKind::Create, Vec::new(), OperationState::Failed(why));
        for operation in operations {
            let Action::Launch(tasks) = &operation.action else { continue };
            for task in tasks {
                let status =
                    self.status(&task.id, TaskState::Error, TaskReason::TaskInvalid, false);
                self.events.push_back(Event::Status(status));
            }
        }
    }

    fn carry_out(&mut self, index: usize, offered: &Resources, plan: Plan) {
        let Plan { left, creates, launches, destroys, unreserves, freed, refused } = plan;
        for (name, operation) in destroys {
            self.volumes.remove(&name);
            self.written.remove(&name);
            self.ends.push((operation, OperationKind::Destroy, OperationState::Done));
        }
        let done = |id| (id, OperationKind::Unreserve, OperationState::Done);
        self.ends.extend(unreserves.into_iter().map(done));
        let failed = |(id, kind, why)| (id, kind, OperationState::Failed(why));
        self.ends.extend(refused.into_iter().map(failed));
        for (name, resource, operation) in creates {
            self.counter += 1;
            let used = launches.iter().any(|task| uses(&task.resources, &name));
            assert!(used, "a volume nobody uses");
            let volume = Volume {
                id: VolumeId::from_u128(self.counter),
                agent: index,
                ready: false,
                hidden: false,
                resource,
                operation,
                succeeded: Vec::new(),
                served: false,
            };
            self.volumes.insert(name, volume);
        }
        for info in launches {
            assert!(!self.tasks.contains_key(&info.id), "{} again", info.id);
            for (name, volume) in
                self.volumes.iter().filter(|(name, _)| uses(&info.resources, name))
            {
                assert_eq!(volume.agent, index, "{} is launched away from {name}", info.id);
            }
            let state = TaskState::Staging;
            let task = Task { agent: index, info, state, ran: false, unacknowledged: None };
            self.tasks.insert(task.info.id.clone(), task);
        }
        let agent = &mut self.agents[index];
        agent.free.checked_sub(offered).unwrap();
        // Launched tasks have taken their part out of `left`.
        agent.free.add_all(&left).unwrap();
        let pool = if agent.cordoned { &mut agent.withheld } else { &mut agent.free };
        pool.add_all(&freed).unwrap();
    }
}
