//! One container from its start, or its adoption, to its release: carries out the orders for it one after the
//! other and tells what becomes of it.
//!
//! Orders are level, not edge: asked twice, the answer is given twice. It never says that a container has ended
//! before everything of it is dead.

use super::checks;
use super::enter::Role;
use super::inbox::{Checks, Inbox};
use super::prepare::{self, Begun, CONTAINER_VARIABLE, Start, run_path};
use super::record::{Ending, Phase, RunFolder, Spec, State};
use super::runtime::Shared;
use super::watch::{Seen, Watch};
use super::{cgroup, garbage};
use crate::host::process;
use berth_agent_core::effect::{ContainerEvent, Exit};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::ContainerId;
use berth_model::units::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::{error, warn};

/// Between two attempts to kill what a lost supervisor left behind; the kernel tells only a parent.
const CLEAR_AGAIN: Duration = Duration::from_millis(20);

enum Stage {
    /// Nothing is known yet.
    Unknown,
    /// A supervisor lives.
    Following {
        watch: Box<Watch>,
        checks: Checks,
        /// Followed only to be killed: nobody asked whether it runs.
        quiet: bool,
        /// Tried again when the supervisor, left by an agent that died before it gave the word, ends without
        /// having started anything.
        again: Option<Box<Start>>,
    },
    /// Nothing runs, and this was told.
    Over(ContainerEvent),
}

pub(crate) struct Life {
    shared: Arc<Shared>,
    container: ContainerId,
    inbox: Arc<Inbox>,
    stage: Stage,
    checks: JoinSet<()>,
}

impl Life {
    pub fn new(shared: Arc<Shared>, container: ContainerId, inbox: Arc<Inbox>) -> Self {
        Self { shared, container, inbox, stage: Stage::Unknown, checks: JoinSet::new() }
    }

    /// Until the container is released.
    pub async fn live(mut self) {
        loop {
            let orders = match &mut self.stage {
                Stage::Following { watch, .. } => {
                    tokio::select! {
                        orders = self.inbox.next() => orders,
                        seen = watch.next() => {
                            self.seen(seen).await;
                            continue;
                        },
                    }
                },
                Stage::Unknown | Stage::Over(_) => self.inbox.next().await,
            };
            if let Some(start) = orders.start {
                self.start(start).await;
            }
            if let Some(checks) = orders.adopt {
                self.adopt(checks).await;
            }
            if let Some(grace) = orders.kill {
                self.kill(grace).await;
            }
            if orders.release && self.release().await && self.shared.forget(self.container) {
                return;
            }
        }
    }

    async fn tell(&self, event: ContainerEvent) {
        self.shared.tell(self.container, event).await;
    }

    async fn over(&mut self, event: ContainerEvent) {
        self.stage = Stage::Over(event.clone());
        self.tell(event).await;
    }

    /// Says again what is known. False when nothing is known.
    async fn repeat(&self) -> bool {
        let event = match &self.stage {
            Stage::Unknown => return false,
            Stage::Over(event) => event.clone(),
            Stage::Following { watch, .. } => match watch.last().map(|state| &state.phase) {
                Some(Phase::Running { pid }) => ContainerEvent::Running { pid: *pid },
                // The supervisor is about to say more.
                Some(Phase::Starting | Phase::Refused(_) | Phase::Ended(_)) | None => return true,
            },
        };
        self.tell(event).await;
        true
    }

    async fn start(&mut self, start: Start) {
        match &self.stage {
            Stage::Unknown | Stage::Over(ContainerEvent::NotStarted(_)) => {},
            Stage::Following { .. } | Stage::Over(_) => {
                self.repeat().await;
                return;
            },
        }
        let checks =
            Checks { health: start.task.health.clone(), readiness: start.task.readiness.clone() };
        let shared = Arc::clone(&self.shared);
        let asked = start.clone();
        let begun = blocking(move || {
            prepare::start(&shared.config, &shared.hierarchies, &*shared.volumes, &asked)
        });
        match begun.await {
            Ok(Begun::Started(child)) => self.follow(Some(child), checks).await,
            Ok(Begun::Alive) => {
                self.follow(None, checks).await;
                if let Stage::Following { again, .. } = &mut self.stage {
                    *again = Some(Box::new(start));
                }
            },
            Ok(Begun::Past(state)) => self.past(Ok(Some(state))).await,
            Err(rejection) => {
                // What failed may have been the look at an earlier start of the same run.
                self.clear().await;
                self.over(ContainerEvent::NotStarted(rejection)).await;
            },
        }
    }

    async fn adopt(&mut self, wanted: Checks) {
        if let Stage::Following { quiet: quiet @ true, checks, watch, .. } = &mut self.stage {
            *quiet = false;
            *checks = wanted;
            let state = watch.last().cloned();
            if let Some(state) = state {
                self.state_seen(state).await;
            }
            return;
        }
        if !self.repeat().await {
            self.find(wanted, false).await;
        }
    }

    /// Looks for a run of an earlier life of the agent.
    async fn find(&mut self, checks: Checks, quiet: bool) {
        let unknown = |why: String| ContainerEvent::Exited(Exit::Unknown(why));
        let path = run_path(&self.shared.config, self.container);
        let looked = RunFolder::open(&path).and_then(|run| {
            run.map_or(Ok(None), |run| Ok(Some((run.lock()?.is_some(), run.read_state()))))
        });
        match looked {
            Ok(None) => {
                self.clear().await;
                self.over(unknown(format!("run folder {} is not there", path.display()))).await;
            },
            Ok(Some((true, state))) => self.past(state.map_err(|e| e.to_string())).await,
            Ok(Some((false, _))) => {
                self.follow(None, checks).await;
                if let Stage::Following { quiet: now, .. } = &mut self.stage {
                    *now = quiet;
                }
            },
            Err(error) => {
                self.clear().await;
                self.over(unknown(format!("run folder {}: {error}", path.display()))).await;
            },
        }
    }

    async fn follow(&mut self, child: Option<std::process::Child>, checks: Checks) {
        let path = run_path(&self.shared.config, self.container);
        let watch = RunFolder::open(&path).and_then(|run| match run {
            Some(run) => Watch::begin(run, child),
            None => Err(io::Error::other(format!("{} vanished", path.display()))),
        });
        match watch {
            Ok(watch) => {
                let watch = Box::new(watch);
                self.stage = Stage::Following { watch, checks, quiet: false, again: None };
            },
            Err(error) => self.lost(&error).await,
        }
    }

    /// The supervisor may live, but cannot be followed: descriptors are used up, or the disk fails.
    async fn lost(&mut self, error: &io::Error) {
        error!(container = %self.container, %error, "a container cannot be followed and is killed");
        self.clear().await;
        self.over(ContainerEvent::Exited(Exit::Unknown(format!(
            "its supervisor could not be followed: {error}"
        ))))
        .await;
    }

    async fn seen(&mut self, seen: io::Result<Seen>) {
        match seen {
            Ok(Seen::State(state)) => self.state_seen(state).await,
            Ok(Seen::Gone(state)) => {
                // Awaited: no check may be told after the end.
                self.checks.shutdown().await;
                let again = match &mut self.stage {
                    Stage::Following { again, .. } if state == Ok(None) => again.take(),
                    Stage::Following { .. } | Stage::Unknown | Stage::Over(_) => None,
                };
                match again {
                    Some(start) => {
                        // Held until then, because an order to end may lie in its pipe.
                        let earlier = std::mem::replace(&mut self.stage, Stage::Unknown);
                        Box::pin(self.start(*start)).await;
                        drop(earlier);
                    },
                    None => self.past(state).await,
                }
            },
            Err(error) => {
                self.checks.shutdown().await;
                self.lost(&error).await;
            },
        }
    }

    async fn state_seen(&mut self, state: State) {
        let Stage::Following { checks, quiet: false, .. } = &self.stage else { return };
        let Phase::Running { pid } = state.phase else { return };
        let checks = checks.clone();
        let age = process::Identity::of(pid).and_then(|command| command.age()).unwrap_or_default();
        self.tell(ContainerEvent::Running { pid }).await;
        for (role, check) in [(Role::Health, checks.health), (Role::Readiness, checks.readiness)] {
            if let Some(check) = check {
                let shared = Arc::clone(&self.shared);
                self.checks.spawn(checks::repeat(shared, self.container, role, check, age));
            }
        }
    }

    /// No supervisor lives; `state` is what it wrote last.
    async fn past(&mut self, state: Result<Option<State>, String>) {
        let over = matches!(&state, Ok(Some(State { phase: Phase::Ended(_), .. })));
        if over {
            self.remove_groups();
        } else {
            self.clear().await;
        }
        let event = match state {
            Ok(Some(state)) => self.told_by(state),
            Ok(None) => ContainerEvent::NotStarted(Rejection::new(
                ErrorCode::LaunchFailed,
                format!("the supervisor ended before it started the command{}", self.last_words()),
            )),
            Err(error) => ContainerEvent::Exited(Exit::Unknown(format!(
                "what the supervisor wrote cannot be read: {error}"
            ))),
        };
        self.over(event).await;
    }

    fn told_by(&self, state: State) -> ContainerEvent {
        let exit = match state.phase {
            Phase::Refused(refusal) => return ContainerEvent::NotStarted(refusal.into()),
            Phase::Ended(Ending::Status(status)) => Exit::Status(status),
            Phase::Ended(Ending::Signal(signal)) => Exit::Signal(signal),
            Phase::Ended(Ending::OutOfMemory { limit_bytes }) => {
                Exit::OutOfMemory(Bytes::new(limit_bytes))
            },
            Phase::Starting | Phase::Running { .. } => {
                let rebooted =
                    process::boot_id().is_ok_and(|boot| boot != state.supervisor.boot_id);
                Exit::Unknown(if rebooted {
                    "the machine was restarted while it ran".to_owned()
                } else {
                    format!("its supervisor ended without a word{}", self.last_words())
                })
            },
        };
        ContainerEvent::Exited(exit)
    }

    /// The end of supervisor.log, for a message.
    fn last_words(&self) -> String {
        let path = run_path(&self.shared.config, self.container).join("supervisor.log");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().last().map(|line| format!(": {line}")).unwrap_or_default()
    }

    fn spec(&self) -> Option<Spec> {
        let run = RunFolder::open(&run_path(&self.shared.config, self.container)).ok()??;
        run.read_spec().ok()?
    }

    fn remove_groups(&self) {
        for group in self.spec().into_iter().flat_map(|spec| spec.groups) {
            if let Err(error) = cgroup::remove(&group) {
                warn!(container = %self.container, %error, "a control group is left behind");
            }
        }
    }

    /// Kills whatever a lost supervisor left running, until nothing is left, the supervisor included.
    async fn clear(&self) {
        let groups = self.spec().map(|spec| spec.groups).unwrap_or_default();
        let marker = format!("{CONTAINER_VARIABLE}={}", self.container);
        let path = run_path(&self.shared.config, self.container);
        loop {
            let (groups, marker, path) = (groups.clone(), marker.clone(), path.clone());
            let killed = blocking(move || -> io::Result<bool> {
                let members = cgroup::kill_all(&groups)?;
                let killed = process::kill_marked(&marker)? > 0;
                // A supervisor that lives may still start something; without its command it ends by itself. Where
                // the lock cannot be looked at, killing is all that can be done.
                let supervised = RunFolder::open(&path)
                    .and_then(|run| run.map_or(Ok(false), |run| Ok(run.lock()?.is_none())));
                Ok(members || killed || supervised.unwrap_or(false))
            });
            match killed.await {
                Ok(false) => break,
                Ok(true) => {},
                Err(error) => {
                    warn!(container = %self.container, %error, "leftovers cannot be killed");
                },
            }
            tokio::time::sleep(CLEAR_AGAIN).await;
        }
        self.remove_groups();
    }

    async fn kill(&mut self, grace: Duration) {
        if let Stage::Unknown = self.stage {
            self.find(Checks::default(), true).await;
        } else if let Stage::Over(_) = self.stage {
            self.repeat().await;
        }
        if let Stage::Following { watch, .. } = &self.stage
            && let Err(error) = watch.order_end(grace)
        {
            self.lost(&error).await;
        }
    }

    /// False when the container is not over.
    async fn release(&mut self) -> bool {
        let path = run_path(&self.shared.config, self.container);
        let noted = blocking(move || match RunFolder::open(&path)? {
            Some(run) => match run.lock()? {
                Some(_nobody) => garbage::release(&run).map(|()| true),
                None => Ok(false),
            },
            None => Ok(true),
        });
        match noted.await {
            Ok(true) => return true,
            Ok(false) => {
                warn!(container = %self.container, "a container that runs cannot be released");
            },
            Err(error) => warn!(container = %self.container, %error, "a sandbox is kept"),
        }
        false
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("blocking work neither panics nor is aborted")
}
