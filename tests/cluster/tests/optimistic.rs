//! The same processors offered to three frameworks over gRPC: the smaller second ACCEPT wins what is left, the loser is told
//! CONFLICT and has a fresh offer within a cycle.

use anyhow::{Context, bail, ensure};
use berth_cluster_tests::Pair;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{AcceptMode, Call, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{OperationId, TaskId};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::resources::{Name, parse_resources};
use berth_model::task::{Command, Program, TaskInfo, TaskReason, TaskState, TaskStatus};
use berth_model::units::Scalar;
use berth_storage_framework::sdk::{Caller, Client, Notice, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// A cycle is a second; the machine may be slow.
const CYCLE: Duration = Duration::from_secs(5);

struct Framework {
    client: Client,
    caller: Caller,
    calls: u64,
    role: String,
    offers: Vec<Offer>,
    /// What the last call that was refused was told.
    refusal: Option<Rejection>,
    /// The codes of operations that failed.
    failed: Vec<ErrorCode>,
}

impl Framework {
    async fn start(pair: &Pair, role: &str) -> anyhow::Result<Self> {
        let mut client = Client::start(pair.address().parse()?, Options::default())?;
        let caller = loop {
            let notice = tokio::time::timeout(PATIENCE, client.next()).await?;
            match notice.context("the session ended")? {
                Notice::Connected(caller) => break caller,
                Notice::Disconnected(_) | Notice::Event(_) => {},
            }
        };
        let info = FrameworkInfo {
            name: Arc::from(role),
            user: Arc::from(""),
            roles: BTreeSet::from([role.parse()?]),
            principal: None,
            failover_timeout: Duration::from_secs(60),
            url: Arc::from(""),
            hostname: Arc::from("here"),
            capabilities: BTreeSet::new(),
        };
        let subscribe = Call::Subscribe { info, framework: None, suppressed: BTreeSet::new() };
        caller.call(1, &subscribe)?;
        let (role, offers, failed) = (role.to_owned(), Vec::new(), Vec::new());
        Ok(Self { client, caller, calls: 1, role, offers, refusal: None, failed })
    }

    fn say(&mut self, call: &Call) -> anyhow::Result<()> {
        self.calls += 1;
        Ok(self.caller.call(self.calls, call)?)
    }

    async fn event(&mut self) -> anyhow::Result<Event> {
        let notice = tokio::time::timeout(PATIENCE, self.client.next()).await;
        let notice = notice.context("waiting for an event")?.context("the session ended")?;
        let Notice::Event(event) = notice else { bail!("the session is not steady: {notice:?}") };
        match &event {
            Event::Offers(offers) => self.offers.extend(offers.iter().cloned()),
            Event::Rescind(gone) => self.offers.retain(|offer| offer.id != *gone),
            Event::Answered { result: Err(why), .. } => self.refusal = Some(why.clone()),
            Event::Operation(record) => {
                if let OperationState::Failed(why) = &record.state {
                    self.failed.push(why.code);
                }
            },
            _ => {},
        }
        Ok(event)
    }

    /// Waits for an offer with so many thousandths of a processor.
    async fn offer(&mut self, cpus: i64) -> anyhow::Result<Offer> {
        loop {
            let found = self
                .offers
                .iter()
                .find(|offer| offer.optimistic.total(&Name::Cpus) >= Scalar::from_milli(cpus));
            if let Some(offer) = found.cloned() {
                return Ok(offer);
            }
            self.event().await?;
        }
    }

    fn accept(
        &mut self,
        offer: &Offer,
        task: &str,
        cpus: &str,
        terms: Terms,
    ) -> anyhow::Result<()> {
        self.offers.retain(|held| held.id != offer.id);
        let task = TaskInfo {
            id: TaskId::new(task)?,
            name: task.to_owned(),
            agent: offer.agent,
            resources: parse_resources(&format!("cpus:{cpus};mem:32"))?,
            command: Command {
                program: Program::Shell("sleep 600".to_owned()),
                env: BTreeMap::new(),
                user: None,
            },
            health: None,
            readiness: None,
            kill_grace: Duration::from_secs(1),
            labels: BTreeMap::new(),
        };
        let mark = berth_model::id::fingerprint(self.role.as_bytes());
        let id = OperationId::from_u128((u128::from(mark) << 64) + u128::from(self.calls));
        let operations = vec![OfferOperation { id, action: Action::Launch(vec![task]) }];
        let filters = Filters { refuse: Duration::from_secs(600) };
        self.say(&Call::Accept { offers: vec![offer.id], operations, filters, terms })
    }

    /// The first status of the task that is not on the way to another.
    async fn fate(&mut self, task: &str) -> anyhow::Result<TaskStatus> {
        loop {
            let Event::Status(status) = self.event().await? else { continue };
            if let (Some(agent), Some(update)) = (status.agent, status.id) {
                let task = status.task.clone();
                self.say(&Call::Acknowledge { agent, task, status: update })?;
            }
            let settled = status.state == TaskState::Running || status.state.is_terminal();
            if status.task.to_string() == task && settled {
                return Ok(status);
            }
        }
    }
}

async fn race(pair: &Pair) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for role in ["web", "batch", "late"] {
        all.push(Framework::start(pair, role).await?);
    }
    let mut held = Vec::new();
    for framework in &mut all {
        held.push(framework.offer(3_900).await?);
    }
    let rows = pair.items(&["offer", "list"])?;
    for offer in &held {
        let row = rows.iter().find(|row| row["id"] == offer.id.to_string());
        let row = row.with_context(|| format!("{} in {rows:?}", offer.id))?;
        ensure!(row["holders"] == 3, "{row}");
        ensure!(row["optimistic"].as_str().is_some_and(|text| text.contains("cpus:4")), "{row}");
        ensure!(row["version"]["seq"] == offer.version.seq, "{row}");
    }
    let table = pair.berth(&["offer", "list", "-o", "wide"])?;
    ensure!(table.stdout.contains("HOLDERS") && table.stdout.contains("OPTIMISTIC"), "{table:?}");

    let incremental = Terms::default();
    all[0].accept(&held[0], "first", "3", incremental)?;
    let first = all[0].fate("first").await?;
    ensure!(first.state == TaskState::Running, "{first:?}");
    all[1].accept(&held[1], "second", "0.8", incremental)?;
    let second = all[1].fate("second").await?;
    ensure!(second.state == TaskState::Running, "the smaller one wins what is left: {second:?}");

    let all_of_it = Terms { mode: AcceptMode::AllOrNothing, if_seq: None };
    let lost = Instant::now();
    all[2].accept(&held[2], "third", "1", all_of_it)?;
    let third = all[2].fate("third").await?;
    let told = (third.state, third.reason, third.message.starts_with("Conflict: agent "));
    ensure!(told == (TaskState::Dropped, TaskReason::InvalidOffers, true), "{third:?}");
    ensure!(all[2].failed == [ErrorCode::Conflict], "{:?}", all[2].failed);
    let why = all[2].refusal.take().context("the call is refused as a whole")?;
    ensure!(why.code == ErrorCode::Conflict, "{why}");
    let fresh = all[2].offer(100).await?;
    ensure!(lost.elapsed() < CYCLE, "the next offer came after {:?}", lost.elapsed());
    ensure!(fresh.version.seq > held[2].version.seq, "{fresh:?}");
    ensure!(fresh.resources.total(&Name::Cpus) == Scalar::from_milli(200), "{fresh:?}");

    // As of an earlier state it conflicts, as of this one it does not.
    let before = Terms { if_seq: Some(held[2].version.seq), ..incremental };
    all[2].accept(&fresh, "fourth", "0.1", before)?;
    let fourth = all[2].fate("fourth").await?;
    ensure!(fourth.state == TaskState::Dropped, "{fourth:?}");
    let fresh = all[2].offer(100).await?;
    let now = Terms { if_seq: Some(fresh.version.seq), ..incremental };
    all[2].accept(&fresh, "fifth", "0.1", now)?;
    let fifth = all[2].fate("fifth").await?;
    ensure!(fifth.state == TaskState::Running, "{fifth:?}");
    for framework in &mut all {
        framework.say(&Call::Teardown)?;
    }
    Ok(())
}

#[test]
fn three_frameworks_race_for_the_same_processors() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // The session is kept by another thread while the test waits.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let root = dir.path().canonicalize().expect("it is there");
    let test = async {
        let flags = ["--offer-fanout", "3", "--offer-stagger", "10ms"];
        let patient = ["--optimistic-offer-grace", "60s", "--optimistic-offer-timeout", "10m"];
        let mut pair = Pair::new(&root)?.with_master_flags(&[&flags[..], &patient].concat());
        pair.start()?;
        race(&pair).await.with_context(|| pair.log_tails())
    };
    runtime.expect("a runtime").block_on(test).expect("the test succeeds");
}

#[test]
fn a_master_refuses_a_fan_out_that_makes_no_sense() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let work = dir.path().join("m").display().to_string();
    for (fan_out, wanted) in [
        ("17", "--offer-fanout: 17 is not 1 to 16"),
        ("web", "--offer-fanout: \"web\" is neither K nor ROLE=K, such as 3 or batch=1"),
    ] {
        let program = berth_cluster_tests::berth_bin().expect("it is built");
        let words = ["master", "run", "--work-dir", &work, "--offer-fanout", fan_out];
        let run = berth_cluster_tests::run(&program, &words, &[]).expect("it runs");
        assert!(run.code != 0 && run.stderr.contains(wanted), "{run:?}");
    }
}
