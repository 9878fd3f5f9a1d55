//! The front of the containers: takes effects, hands each to the life of its container, and reads output.
//!
//! Nothing here waits. It keeps no state that is not also in the run folders.

use super::cgroup::Hierarchies;
use super::inbox::{Checks, Inbox, Orders};
use super::life::Life;
use super::prepare::{Start, run_path};
use super::still::Stops;
use super::{Config, VolumeSource, garbage, logs};
use crate::host::{is_root, may_mount, pace};
use berth_agent_core::effect::{ContainerEffect, ContainerEvent};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::ContainerId;
use berth_model::link::OutputStream;
use rustix::fs::{Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

/// Events that wait for the engine; behind that, containers wait.
const EVENTS_MAX: usize = 1024;
const COLLECT_EVERY: Duration = Duration::from_secs(600);

/// What all lives of containers have in common.
pub(crate) struct Shared {
    pub config: Config,
    pub hierarchies: Hierarchies,
    pub volumes: Arc<VolumeSource>,
    events: mpsc::Sender<(ContainerId, ContainerEvent)>,
    lives: Mutex<BTreeMap<ContainerId, Arc<Inbox>>>,
    pub stops: Stops,
    /// The agent stops.
    stopped: Arc<AtomicBool>,
}

impl Shared {
    /// Waits while the engine is busy. Nobody listens any more when the agent stops, which is no error here.
    pub async fn tell(&self, container: ContainerId, event: ContainerEvent) {
        self.events.send((container, event)).await.ok();
    }

    /// Ends a life, unless something was asked of it meanwhile.
    pub fn forget(&self, container: ContainerId) -> bool {
        let mut lives = lock(&self.lives);
        let idle = lives.get(&container).is_none_or(|inbox| inbox.is_empty());
        if idle {
            lives.remove(&container);
        }
        idle
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries out container effects. Dropped, it leaves every container running for the next one to adopt.
pub struct Runtime {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    handle: Handle,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime and what it will tell. To be called within a tokio runtime.
    #[must_use]
    pub fn new(
        mut config: Config,
        volumes: Arc<VolumeSource>,
    ) -> (Arc<Self>, mpsc::Receiver<(ContainerId, ContainerEvent)>) {
        let hierarchies =
            if is_root() { Hierarchies::detect() } else { Ok(Hierarchies::default()) };
        let hierarchies = hierarchies.unwrap_or_else(|error| {
            warn!(%error, "control groups cannot be found");
            Hierarchies::default()
        });
        // Supervisors have another working directory. Fails only for an empty path, which fails later too.
        config.runs = std::path::absolute(&config.runs).unwrap_or(config.runs);
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let lives = Mutex::new(BTreeMap::new());
        let (stops, stopped) = (Stops::default(), Arc::default());
        let shared =
            Arc::new(Shared { config, hierarchies, volumes, events, lives, stops, stopped });
        let handle = Handle::current();
        let mut tasks = JoinSet::new();
        tasks.spawn_on(collect_garbage(Arc::clone(&shared)), &handle);
        (Arc::new(Self { shared, tasks: Mutex::new(tasks), handle }), received)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Carries out `effect`; the answers come as events.
    pub fn run(&self, effect: ContainerEffect) {
        match effect {
            ContainerEffect::Start { container, framework, task, volumes, in_use } => {
                let start = Start { container, framework, task, volumes, in_use };
                self.inbox(container, |orders| orders.start = Some(start));
            },
            ContainerEffect::Adopt { container, health, readiness } => {
                let checks = Checks { health, readiness };
                self.inbox(container, |orders| orders.adopt = Some(checks));
            },
            ContainerEffect::Kill { container, grace } => {
                self.inbox(container, |orders| {
                    orders.kill = Some(orders.kill.map_or(grace, |other| other.min(grace)));
                });
            },
            ContainerEffect::Release { container } => {
                self.inbox(container, |orders| orders.release = true);
            },
        }
    }

    fn inbox(&self, container: ContainerId, change: impl FnOnce(&mut Orders)) {
        let mut lives = lock(&self.shared.lives);
        let inbox = lives.entry(container).or_insert_with(|| {
            let inbox = Arc::new(Inbox::default());
            let life = Life::new(Arc::clone(&self.shared), container, Arc::clone(&inbox));
            let mut tasks = lock(&self.tasks);
            while let Some(ended) = tasks.try_join_next() {
                if let Err(error) = ended {
                    error!(%error, "the task of a container failed");
                }
            }
            tasks.spawn_on(life.live(), &self.handle);
            inbox
        });
        inbox.put(change);
    }

    /// At most `length` bytes of a container's output from `offset` on, counted from the first byte ever written.
    /// The offset answered differs from the one asked for when older bytes are gone or fewer were written. Blocks
    /// for the time of a read.
    ///
    /// # Errors
    /// The container is not known here, or its output cannot be read.
    pub fn read_log(
        &self,
        container: ContainerId,
        stream: OutputStream,
        offset: u64,
        length: usize,
    ) -> Result<(u64, Vec<u8>), Rejection> {
        let name = match stream {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        };
        let path = run_path(&self.shared.config, container).join("logs");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let read = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|folder| logs::read(folder.as_fd(), name, offset, length));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Rejection::new(
                ErrorCode::UnknownTask,
                format!(
                    "the {name} of container {container} is not on agent {}",
                    self.shared.config.host
                ),
            )
            .remedy("it was never started here, or its sandbox was deleted after its retention"),
            _ => Rejection::new(
                ErrorCode::Internal,
                format!("the {name} of container {container} cannot be read: {error}"),
            ),
        })
    }

    /// What cannot be done on this machine, and why.
    #[must_use]
    pub fn limitations(&self) -> Vec<String> {
        if !is_root() {
            return vec![
                "the agent does not run as root: volumes are links in the sandbox and only at relative paths, cpu \
                 and memory are not limited, and every task runs as the agent's own user"
                    .to_owned(),
            ];
        }
        let mut said = self.shared.hierarchies.limitations();
        if !may_mount() {
            said.push(
                "no task can be started: the agent runs as root without CAP_SYS_ADMIN, which private mounts need"
                    .to_owned(),
            );
        }
        said
    }

    /// Releases the runs that are over and not of a `known` container, so that their sandboxes go in their time.
    /// Says which others run. Blocks; for the start of the agent.
    ///
    /// # Errors
    /// The folder of runs or a run cannot be read.
    pub fn release_unknown(&self, known: &BTreeSet<ContainerId>) -> io::Result<Vec<ContainerId>> {
        garbage::release_unknown(&self.shared.config, known)
    }

    /// Leaves sandboxes that are being deleted as they are: the next start goes on with them.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// Deletes the sandboxes of released runs that may go at `now`, and says whose. Blocks; also done every ten
    /// minutes.
    ///
    /// # Errors
    /// The folder of runs cannot be read.
    pub fn collect_garbage(&self, now: SystemTime) -> io::Result<Vec<ContainerId>> {
        garbage::collect(&self.shared.config, now)
    }
}

async fn collect_garbage(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(COLLECT_EVERY);
    loop {
        ticks.tick().await;
        let shared = Arc::clone(&shared);
        let collected = tokio::task::spawn_blocking(move || {
            #[expect(
                clippy::disallowed_methods,
                reason = "the age of a file needs the clock the file system uses"
            )]
            let now = SystemTime::now();
            pace::gently(&shared.stopped, || garbage::collect(&shared.config, now))
        });
        match collected.await {
            Ok(Ok(deleted)) if deleted.is_empty() => {},
            Ok(Ok(deleted)) => info!(count = deleted.len(), "sandboxes deleted"),
            Ok(Err(error)) => warn!(%error, "sandboxes cannot be collected"),
            Err(error) => error!(%error, "collecting sandboxes failed"),
        }
    }
}
