//! The client session: reconnects, keeps calls to their connection, notices silence.

use crate::master::{Master, within};
use berth_model::framework::{Call, Event, FrameworkInfo};
use berth_model::id::FrameworkId;
use berth_storage_framework::sdk::{Caller, Client, NotSent, Notice, Options};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn options() -> Options {
    let ms = Duration::from_millis;
    Options { backoff_start: ms(10), backoff_max: ms(50), seed: 1 }
}

fn subscribe() -> Call {
    let info = FrameworkInfo {
        name: Arc::from("f"),
        user: Arc::from(""),
        roles: BTreeSet::from(["storage/f".parse().unwrap()]),
        principal: None,
        failover_timeout: Duration::from_secs(1),
        url: Arc::from(""),
        hostname: Arc::from("h"),
        capabilities: BTreeSet::new(),
    };
    Call::Subscribe { info, framework: None, suppressed: BTreeSet::new() }
}

fn subscribed(heartbeat: Duration) -> Event {
    Event::Subscribed { framework: FrameworkId::new("f-1").unwrap(), epoch: 1, heartbeat }
}

async fn connected(client: &mut Client) -> Caller {
    loop {
        match within("a connection", client.next()).await.unwrap() {
            Notice::Connected(caller) => return caller,
            Notice::Disconnected(_) => {},
            Notice::Event(event) => panic!("{event:?}"),
        }
    }
}

#[tokio::test]
async fn a_closed_session_is_opened_again_and_old_callers_are_dead() {
    let mut master = Master::start().await;
    let mut client = Client::start(master.address.to_string().parse().unwrap(), options()).unwrap();
    let first = connected(&mut client).await;
    first.call(1, &subscribe()).unwrap();
    let mut session = master.session().await;
    assert_eq!(session.call().await, (1, subscribe()));
    session.say(&subscribed(Duration::from_secs(15))).await;
    let event = within("the event", client.next()).await.unwrap();
    assert!(matches!(event, Notice::Event(Event::Subscribed { .. })), "{event:?}");
    drop(session);
    let second = connected(&mut client).await;
    assert_eq!(first.call(2, &Call::Suppress(BTreeSet::new())), Err(NotSent));
    second.call(1, &subscribe()).unwrap();
    let mut session = master.session().await;
    assert_eq!(session.call().await.0, 1);
}

#[tokio::test]
async fn a_silent_master_and_a_dropped_caller_end_the_session() {
    let mut master = Master::start().await;
    let mut client = Client::start(master.address.to_string().parse().unwrap(), options()).unwrap();
    let caller = connected(&mut client).await;
    caller.call(1, &subscribe()).unwrap();
    let session = master.session().await;
    session.say(&subscribed(Duration::from_millis(10))).await;
    let why = loop {
        if let Notice::Disconnected(why) = within("silence", client.next()).await.unwrap() {
            break why;
        }
    };
    assert_eq!(why.message, "the master has been silent for 1000 ms");
    let caller = connected(&mut client).await;
    drop(caller);
    let why = within("the end", client.next()).await.unwrap();
    assert!(
        matches!(&why, Notice::Disconnected(why) if why.message == "the session was given up"),
        "{why:?}"
    );
}
