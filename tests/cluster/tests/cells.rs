//! Over gRPC: one framework watches the cell and commits without offers, another one takes offers of the same processors.

use anyhow::{Context, bail, ensure};
use berth_cluster_tests::Pair;
use berth_model::cell::Cell;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{AcceptMode, Call, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{AgentId, FrameworkId, OperationId, TaskId, TransactionId, fingerprint};
use berth_model::offer::{Offer, Version};
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::resources::{Name, parse_resources};
use berth_model::role::Role;
use berth_model::task::{Command, Program, TaskInfo};
use berth_model::transaction::{ConflictKind, Outcome, Placement, PlacementResult, Transaction};
use berth_model::units::Scalar;
use berth_storage_framework::sdk::{Caller, CellWatcher, Client, Notice, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

struct Framework {
    client: Client,
    caller: Caller,
    calls: u64,
    id: FrameworkId,
}

impl Framework {
    async fn start(
        pair: &Pair,
        role: &str,
        id: Option<FrameworkId>,
        offers: bool,
    ) -> anyhow::Result<Self> {
        let mut client = Client::start(pair.address().parse()?, Options::default())?;
        let caller = loop {
            let notice = tokio::time::timeout(PATIENCE, client.next()).await?;
            match notice.context("the session ended")? {
                Notice::Connected(caller) => break caller,
                Notice::Disconnected(_) | Notice::Event(_) => {},
            }
        };
        let role: Role = role.parse()?;
        let info = FrameworkInfo {
            name: Arc::from(role.as_str()),
            user: Arc::from(""),
            roles: BTreeSet::from([role.clone()]),
            principal: None,
            failover_timeout: Duration::from_secs(600),
            url: Arc::from(""),
            hostname: Arc::from("here"),
            capabilities: BTreeSet::new(),
        };
        let suppressed = if offers { BTreeSet::new() } else { BTreeSet::from([role]) };
        caller.call(1, &Call::Subscribe { info, framework: id, suppressed })?;
        let nobody = FrameworkId::new("nobody")?;
        let mut framework = Self { client, caller, calls: 1, id: nobody };
        framework.id = framework
            .until(|event| match event {
                Event::Subscribed { framework, .. } => Some(framework.clone()),
                _ => None,
            })
            .await?;
        Ok(framework)
    }

    fn say(&mut self, call: &Call) -> anyhow::Result<()> {
        self.calls += 1;
        Ok(self.caller.call(self.calls, call)?)
    }

    async fn until<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> anyhow::Result<T> {
        loop {
            let notice = tokio::time::timeout(PATIENCE, self.client.next()).await;
            let notice = notice.context("waiting for an event")?.context("the session ended")?;
            let Notice::Event(event) = notice else { bail!("the session broke: {notice:?}") };
            if let Event::Status(status) = &event
                && let (Some(agent), Some(update)) = (status.agent, status.id)
            {
                let task = status.task.clone();
                self.say(&Call::Acknowledge { agent, task, status: update })?;
            }
            if let Some(found) = wanted(&event) {
                return Ok(found);
            }
        }
    }

    async fn offer(&mut self) -> anyhow::Result<Offer> {
        self.until(|event| match event {
            Event::Offers(offers) => offers.first().cloned(),
            _ => None,
        })
        .await
    }

    async fn commit(
        &mut self,
        transaction: &Transaction,
    ) -> anyhow::Result<Result<Vec<PlacementResult>, Rejection>> {
        self.say(&Call::Commit(transaction.clone()))?;
        let number = self.calls;
        self.until(|event| match event {
            Event::Committed { call, results, .. } if *call == number => Some(Ok(results.clone())),
            Event::Answered { call, result: Err(why) } if *call == number => Some(Err(why.clone())),
            _ => None,
        })
        .await
    }
}

fn launch(name: &str, agent: AgentId, cpus: &str) -> anyhow::Result<OfferOperation> {
    let task = TaskInfo {
        id: TaskId::new(name)?,
        name: name.to_owned(),
        agent,
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
    let id = OperationId::from_u128(u128::from(fingerprint(name.as_bytes())));
    Ok(OfferOperation { id, action: Action::Launch(vec![task]) })
}

fn transaction(
    name: &str,
    (agent, version): (AgentId, Version),
    cpus: &str,
) -> anyhow::Result<Transaction> {
    let operations = vec![launch(name, agent, cpus)?];
    let if_seq = Some(version.seq);
    let placement = Placement { agent, epoch: version.epoch, if_seq, role: None, operations };
    let id = TransactionId::from_u128(u128::from(fingerprint(name.as_bytes())));
    Ok(Transaction { id, placements: vec![placement], mode: AcceptMode::AllOrNothing })
}

/// How many thousandths of a processor are free for the only role, and where.
fn free(cell: &Cell) -> Option<(AgentId, Version, i64)> {
    let seen = cell.agents.values().next()?;
    let cpus = seen.roles.first()?.unreserved.total(&Name::Cpus);
    Some((seen.id, seen.version, cpus.milli()))
}

/// Waits until the watcher sees so many thousandths.
async fn sees(watcher: &mut CellWatcher, cpus: i64) -> anyhow::Result<(AgentId, Version)> {
    loop {
        match free(watcher.cell()) {
            Some((agent, version, there)) if there == cpus => return Ok((agent, version)),
            _other => {},
        }
        let seen = format!("waiting for {cpus} of {:?}", watcher.cell());
        tokio::time::timeout(PATIENCE, watcher.next()).await.context(seen)??;
    }
}

async fn share(pair: &mut Pair) -> anyhow::Result<()> {
    let mut taker = Framework::start(pair, "web", None, true).await?;
    let mut cell = Framework::start(pair, "batch", None, false).await?;
    let address = pair.address().parse()?;
    let offer = taker.offer().await?;
    ensure!(offer.optimistic.total(&Name::Cpus) == Scalar::from_milli(4_000), "{offer:?}");
    let mut watcher = CellWatcher::open(&address, &cell.id).await?;
    let (agent, version) = sees(&mut watcher, 4_000).await?;
    ensure!((agent, version) == (offer.agent, offer.version), "both hold the same: {offer:?}");

    // The transaction comes first; of the offer only what is left can be had.
    let first = transaction("first", (agent, version), "3")?;
    let answer = cell.commit(&first).await?.map_err(anyhow::Error::from)?;
    ensure!(answer.len() == 1 && answer[0].outcome == Outcome::Done, "{answer:?}");
    let terms = Terms::default();
    let operations = vec![launch("much", agent, "2")?, launch("little", agent, "0.5")?];
    let filters = Filters { refuse: Duration::from_secs(600) };
    taker.say(&Call::Accept { offers: vec![offer.id], operations, filters, terms })?;
    for wanted in [Some(ErrorCode::Conflict), None] {
        let end = taker
            .until(|event| match event {
                Event::Operation(record) => Some(record.state.clone()),
                _ => None,
            })
            .await?;
        let code = match &end {
            OperationState::Failed(why) => Some(why.code),
            OperationState::Accepted | OperationState::Done => None,
        };
        ensure!(code == wanted, "{end:?}");
    }
    // What the watcher was told of changes is what a new one is shown at first.
    let (_, now) = sees(&mut watcher, 500).await?;
    ensure!(now.seq > version.seq, "{now:?}");
    let mut other = CellWatcher::open(&address, &cell.id).await?;
    let fresh = other.next().await?.agents.clone();
    ensure!(fresh == watcher.cell().agents, "{fresh:#?} and {:#?}", watcher.cell());

    // As of an earlier state it conflicts; more than there is conflicts, too.
    let stale = transaction("stale", (agent, version), "0.1")?;
    let much = transaction("too-much", (agent, now), "1")?;
    for (transaction, wanted) in [(stale, ConflictKind::Stale), (much, ConflictKind::Resources)] {
        let answer = cell.commit(&transaction).await?.map_err(anyhow::Error::from)?;
        let kind = match &answer[0].outcome {
            Outcome::Conflict { kind, .. } => Some(*kind),
            _other => None,
        };
        ensure!(kind == Some(wanted) && answer[0].seq == now.seq, "{answer:?}");
    }

    // The next master gives the recorded answer, and the cell is seen again.
    drop((watcher, other));
    pair.kill_master()?;
    pair.start_master()?;
    let id = cell.id.clone();
    drop(cell);
    let mut cell = Framework::start(pair, "batch", Some(id), false).await?;
    let again = cell.commit(&first).await?.map_err(anyhow::Error::from)?;
    ensure!(again[0].outcome == Outcome::Done, "{again:?}");
    let mut watcher = CellWatcher::open(&address, &cell.id).await?;
    let (_, later) = sees(&mut watcher, 500).await?;
    ensure!(later.epoch == version.epoch + 1, "{later:?}");

    // It ends with the session, and there is none for strangers.
    cell.say(&Call::Teardown)?;
    let ended = loop {
        match tokio::time::timeout(PATIENCE, watcher.next()).await? {
            Ok(_news) => {},
            Err(why) => break why,
        }
    };
    ensure!(ended.code == ErrorCode::NotSubscribed, "{ended}");
    let stranger = FrameworkId::new("stranger")?;
    let refused = CellWatcher::open(&address, &stranger).await.err().context("it is refused")?;
    ensure!(refused.code == ErrorCode::UnknownFramework, "{refused}");
    Ok(())
}

#[test]
fn one_framework_commits_what_another_one_is_offered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let root = dir.path().canonicalize().expect("it is there");
    let test = async {
        let flags = ["--offer-fanout", "2", "--offer-stagger", "10ms"];
        let patient = ["--optimistic-offer-grace", "60s", "--optimistic-offer-timeout", "10m"];
        let mut pair = Pair::new(&root)?.with_master_flags(&[&flags[..], &patient].concat());
        pair.start()?;
        let end = share(&mut pair).await;
        end.with_context(|| pair.log_tails())
    };
    runtime.expect("a runtime").block_on(test).expect("the test succeeds");
}
