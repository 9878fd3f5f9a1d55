//! The engine's promises: nothing leaves before its batch is synced, a failed commit ends everything, and what leads
//! to a connection goes with it.

use super::{AgentOutlet, Engine, EngineConfig, EngineError, FrameworkOutlet, Handle};
use crate::registry::{Change, FailingStore, Loaded, MemoryStore, Record, Store, StoreError};
use berth_master_core::{Input, Optimistic, query};
use berth_model::agent::AgentInfo;
use berth_model::audit::Said;
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Event, FrameworkInfo};
use berth_model::id::{AgentId, ClusterId, OperationId, SessionId};
use berth_model::link::{Envelope, FromAgent, Registration, ToAgent};
use berth_model::operator::Request;
use berth_model::resources::parse_resources;
use berth_model::role::Role;
use futures::FutureExt;
use std::collections::BTreeSet;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(10);

/// Says when a commit begins and finishes it only when told to.
struct Gated {
    inner: MemoryStore,
    begun: mpsc::Sender<()>,
    let_through: std_mpsc::Receiver<()>,
}

impl Store for Gated {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }
    fn commit(&mut self, expected: u64, batch: &[Change]) -> Result<u64, StoreError> {
        // The epoch's own commit is made while the engine starts, before anybody can ask.
        if expected > 0 {
            self.begun.blocking_send(()).unwrap();
            self.let_through.recv().unwrap();
        }
        self.inner.commit(expected, batch)
    }
    fn read_log(&mut self, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.read_log(from, limit)
    }
}

pub(super) fn start(store: impl Store + 'static) -> (Handle, JoinHandle<Result<(), EngineError>>) {
    let settings = EngineConfig {
        new_cluster: ClusterId::from_u128(1),
        heartbeat: Duration::from_secs(15),
        agent_timeout: Duration::from_secs(75),
        offer_timeout: None,
        optimistic: Optimistic::default(),
        audit_entries: 1_000_000,
        audit_age: None,
    };
    let (engine, handle) = Engine::start(Box::new(store), &settings).unwrap();
    (handle, tokio::spawn(engine.run()))
}

pub(super) fn agent() -> AgentId {
    AgentId::from_u128(7)
}

/// The connection's ends that the API holds.
type Ends<T> = (mpsc::Receiver<T>, oneshot::Receiver<()>);

async fn register(handle: &Handle, session: u128) -> Ends<Envelope> {
    let session = SessionId::from_u128(session);
    let (sender, outbound) = mpsc::channel(16);
    let (closing, closed) = oneshot::channel();
    let info = AgentInfo {
        id: agent(),
        hostname: Arc::from("host-1"),
        attributes: Arc::default(),
        declared: parse_resources("cpus:4;mem:1GiB").unwrap(),
        disks: Vec::new(),
        limitations: Vec::new(),
        version: Arc::from("1"),
    };
    let registration = Registration {
        info,
        session,
        cluster: None,
        epoch: 0,
        revision: 0,
        ledger_seq: 0,
        volumes: Vec::new(),
        tasks: Vec::new(),
        snapshots: Vec::new(),
    };
    let message = FromAgent::Register(Box::new(registration));
    let first = Input::Agent { agent: agent(), session, message };
    handle.open_agent(AgentOutlet { session, sender, closing }, first).await.unwrap();
    (outbound, closed)
}

async fn next<T>(from: &mut mpsc::Receiver<T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, from.recv()).await.expect("nothing came")
}

#[tokio::test]
async fn nothing_leaves_before_its_batch_is_synced() {
    let (begun, mut commits) = mpsc::channel(1);
    let (let_through, gate) = std_mpsc::channel();
    let (handle, _running) =
        start(Gated { inner: MemoryStore::default(), begun, let_through: gate });
    let (mut outbound, _closed) = register(&handle, 1).await;
    next(&mut commits).await.unwrap();
    // Asked while the first batch is on its way to the disk: what they see is not synced yet.
    let mut listed = Box::pin(handle.query(|r| query::agents(r.state).len()));
    let refused = Request::Release { reservation: berth_model::id::ReservationId::from_u128(9) };
    let mut submitted =
        Box::pin(handle.submit(OperationId::from_u128(3), 1, refused, Said::default()));
    for _ in 0..100 {
        assert_eq!((&mut listed).now_or_never(), None);
        assert_eq!((&mut submitted).now_or_never(), None);
        assert_eq!(outbound.try_recv(), Err(mpsc::error::TryRecvError::Empty));
        tokio::task::yield_now().await;
    }
    let_through.send(()).unwrap();
    let told = next(&mut outbound).await.unwrap();
    assert_eq!(
        (told.epoch, told.revision, told.message),
        (1, 2, ToAgent::Registered { heartbeat: Duration::from_secs(15) })
    );
    let_through.send(()).unwrap();
    assert_eq!(listed.await.unwrap(), 1);
    assert_eq!(submitted.await.unwrap_err().code, ErrorCode::UnknownReservation);
}

#[tokio::test]
async fn a_failed_commit_ends_the_engine_and_tells_nobody() {
    let (handle, running) = start(FailingStore::new(MemoryStore::default(), 1));
    let (mut outbound, closed) = register(&handle, 1).await;
    let asked = handle.query(|r| query::agents(r.state).len()).await;
    assert_eq!(asked.unwrap_err().code, ErrorCode::Unavailable);
    let ended = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(EngineError::Store(StoreError::Write { .. }))), "{ended:?}");
    assert_eq!(next(&mut outbound).await, None);
    assert!(closed.await.is_err());
}

#[tokio::test]
async fn the_way_to_an_agent_goes_with_its_connection() {
    let (handle, _running) = start(MemoryStore::default());
    let (mut outbound, closed) = register(&handle, 1).await;
    assert!(next(&mut outbound).await.is_some());
    let session = SessionId::from_u128(1);
    handle.input(Input::AgentDisconnected { agent: agent(), session }).await.unwrap();
    assert_eq!(next(&mut outbound).await, None);
    assert!(tokio::time::timeout(PATIENCE, closed).await.expect("still open").is_err());
}

#[tokio::test]
async fn a_framework_that_ended_its_side_still_gets_its_answers() {
    let (handle, _running) = start(MemoryStore::default());
    let session = SessionId::from_u128(1);
    let (sender, mut outbound) = mpsc::channel(16);
    let (closing, _closed) = oneshot::channel();
    let info = FrameworkInfo {
        name: Arc::from("f"),
        user: Arc::from("nobody"),
        roles: BTreeSet::from([Role::new("r").unwrap()]),
        principal: None,
        failover_timeout: Duration::from_secs(600),
        url: Arc::from(""),
        hostname: Arc::from("here"),
        capabilities: BTreeSet::new(),
    };
    let body = Call::Subscribe { info, framework: None, suppressed: BTreeSet::new() };
    let first = Input::Framework { session, framework: None, call: 1, fingerprint: 1, body };
    handle.open_framework(FrameworkOutlet { session, sender, closing }, first).await.unwrap();
    let Some(Event::Subscribed { framework, .. }) = next(&mut outbound).await else {
        panic!("not subscribed")
    };
    let body = Call::UpdateRoles(BTreeSet::from([Role::new("other").unwrap()]));
    let update = Input::Framework {
        session,
        framework: Some(framework.clone()),
        call: 2,
        fingerprint: 2,
        body,
    };
    handle.input(update).await.unwrap();
    handle.input(Input::FrameworkDisconnected { framework, session }).await.unwrap();
    let answered = Event::Answered { call: 2, result: Ok(Vec::new()) };
    assert_eq!(next(&mut outbound).await, Some(answered));
    assert_eq!(next(&mut outbound).await, None);
}
