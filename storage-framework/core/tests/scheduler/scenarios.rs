//! The scheduler's promises one by one, told as stories against the small cluster.

use crate::cluster::Cluster;
use berth_framework_core::document::{Service, parse};
use berth_framework_core::scheduler::{Command, Input, Output, Reply};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::Event;
use berth_model::resources::MountMode;
use berth_model::task::{TaskState, TaskStatus};
use std::collections::BTreeMap;
use std::time::Duration;

const DOCUMENT: &str = "
apiVersion: berth/v1
kind: Service
name: db
role: storage/test
pods:
  p:
    resources: { cpu: 1, memory: 512MiB, ports: { sql: auto } }
    volumes: { data: { size: 1GiB, path: data } }
    tasks:
      init: { goal: once, scope: volume, cmd: init }
      server: { goal: running, cmd: 'serve ${port.sql} ${volume.data} on ${instance.host}' }
";

pub(crate) fn document(from: &str, to: &str) -> Service {
    assert!(DOCUMENT.contains(from), "{from}");
    parse(&DOCUMENT.replace(from, to), None).unwrap().remove(0)
}

pub(crate) fn ask(cluster: &mut Cluster, command: Command) -> Result<Reply, Rejection> {
    let step = cluster.scheduler.step(cluster.now, Input::Command { request: 9, command });
    cluster.ledger.extend(step.records);
    let mut result = None;
    for output in step.outputs {
        match output {
            Output::Reply { request: 9, result: found } => result = Some(found),
            other => cluster.send(other),
        }
    }
    result.expect("every command is answered in its step")
}

pub(crate) fn apply(cluster: &mut Cluster, service: Service) -> Result<Reply, Rejection> {
    ask(cluster, Command::Apply { services: vec![service], dry_run: false })
}

pub(crate) fn changes(reply: Result<Reply, Rejection>) -> Vec<String> {
    match reply.unwrap() {
        Reply::Applied { changes, .. } => changes,
        other => panic!("{other:?}"),
    }
}

/// Everything is offered and delivered once; nothing starts by itself.
pub(crate) fn round(cluster: &mut Cluster) {
    cluster.connect();
    cluster.tick(Duration::from_secs(1));
    cluster.offer();
    while cluster.deliver(None) {}
    cluster.check();
}

pub(crate) fn pod(cluster: &Cluster) -> (String, String) {
    let view = cluster.scheduler.view("db").unwrap();
    (view.pods[0].state.to_owned(), view.pods[0].message.clone())
}

pub(crate) fn live(cluster: &Cluster) -> Vec<String> {
    let live = cluster.tasks.iter().filter(|(_, task)| !task.state.is_terminal());
    live.map(|(id, task)| format!("{id} {}", task.state)).collect()
}

/// Up to the running server.
pub(crate) fn deploy(cluster: &mut Cluster) {
    apply(cluster, document("", "")).unwrap();
    round(cluster);
    round(cluster);
    cluster.create_ends(true);
    cluster.task_starts();
    round(cluster);
    cluster.task_ends(true);
    round(cluster);
    round(cluster);
    cluster.task_starts();
    round(cluster);
    assert_eq!(live(cluster), ["db.p-0.server.2 TASK_RUNNING"]);
}

#[test]
fn a_task_is_launched_on_its_volumes_in_the_mode_it_asks_for() {
    let mut cluster = Cluster::new(2);
    let reads = "server: { volumes: { data: { mode: RO } }, goal";
    apply(&mut cluster, document("server: { goal", reads)).unwrap();
    let mut modes = Vec::new();
    for _ in 0..2 {
        round(&mut cluster);
        round(&mut cluster);
        let live = cluster.tasks.values().find(|task| !task.state.is_terminal()).unwrap();
        let mounts = live.info.resources.iter().filter_map(|resource| resource.disk.clone()?.mount);
        modes.extend(mounts.map(|mount| (live.info.name.clone(), mount.mode)));
        cluster.create_ends(true);
        cluster.task_starts();
        round(&mut cluster);
        cluster.task_ends(true);
    }
    let wanted = [("p-0.init", MountMode::ReadWrite), ("p-0.server", MountMode::ReadOnly)];
    assert_eq!(modes, wanted.map(|(task, mode)| (task.to_owned(), mode)));
}

#[test]
fn one_accept_reserves_creates_and_launches_and_the_server_follows_on_the_same_volume() {
    let mut cluster = Cluster::new(2);
    let reply = apply(&mut cluster, document("", ""));
    assert_eq!(changes(reply), ["db: created with pod p-0"]);
    assert_eq!(pod(&cluster), ("WAITING".to_owned(), "not connected to the master".to_owned()));
    assert_eq!(cluster.scheduler.view("db").unwrap().pods[0].ports, BTreeMap::new());
    round(&mut cluster);
    round(&mut cluster);
    assert_eq!(live(&cluster), ["db.p-0.init.1 TASK_STAGING"]);
    assert_eq!(pod(&cluster).0, "INITIALIZING");
    cluster.create_ends(true);
    cluster.task_starts();
    round(&mut cluster);
    cluster.task_ends(true);
    round(&mut cluster);
    round(&mut cluster);
    assert_eq!(live(&cluster), ["db.p-0.server.2 TASK_STAGING"]);
    cluster.task_starts();
    round(&mut cluster);
    assert_eq!(pod(&cluster), ("READY".to_owned(), String::new()));
    let view = cluster.scheduler.view("db").unwrap();
    assert_eq!((view.state, view.pods[0].tasks[0].state), ("RUNNING", "TASK_FINISHED"));
    assert!(view.pods[0].volumes[0].id.is_some());
    let shown = view.pods[0].ports.clone();
    let info = &cluster.tasks.values().find(|task| !task.state.is_terminal()).unwrap().info;
    let port = info.resources.iter().find(|r| r.name.as_str() == "ports").unwrap();
    let berth_model::resources::Value::Ranges(ports) = &port.value else { panic!("{port}") };
    let number = ports.as_slice()[0].begin;
    assert_eq!(shown, BTreeMap::from([("sql".to_owned(), u16::try_from(number).unwrap())]));
    let want = format!("serve {number} data on host-1");
    assert_eq!(info.command.program, berth_model::task::Program::Shell(want));
    assert_eq!(changes(apply(&mut cluster, document("", ""))), ["db: no change"]);
    assert_eq!(cluster.scheduler.view("db").unwrap().version, 1);
}

#[test]
fn failures_back_off_and_the_restart_stays_with_the_data() {
    let mut cluster = Cluster::new(3);
    deploy(&mut cluster);
    let place = cluster.scheduler.view("db").unwrap().pods[0].agent;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        cluster.task_ends(false);
        while cluster.deliver(None) {}
        let (state, message) = pod(&cluster);
        assert_eq!(state, "BACKOFF", "{message}");
        let failed = cluster.now;
        while live(&cluster).is_empty() {
            round(&mut cluster);
            assert!(cluster.now.since(failed) < Duration::from_mins(2));
        }
        pauses.push(cluster.now.since(failed).as_secs());
        cluster.task_starts();
        round(&mut cluster);
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    let view = cluster.scheduler.view("db").unwrap();
    assert_eq!((view.pods[0].agent, view.pods[0].tasks[1].restarts), (place, 4));
}

/// The service's state; the pod's state and message; a task's state, ready, restarts and message.
type Shown = (&'static str, String, String, (&'static str, Option<bool>, u64, String));

fn shown(cluster: &Cluster, task: usize) -> Shown {
    let view = cluster.scheduler.view("db").unwrap();
    let row = &view.pods[0].tasks[task];
    let (state, message) = pod(cluster);
    (view.state, state, message, (row.state, row.ready, row.restarts, row.message.clone()))
}

#[test]
fn a_service_that_never_ran_says_what_failed_and_is_deploying() {
    let mut cluster = Cluster::new(2);
    apply(&mut cluster, document("", "")).unwrap();
    round(&mut cluster);
    round(&mut cluster);
    cluster.create_ends(true);
    cluster.task_starts();
    round(&mut cluster);
    cluster.task_ends(false);
    while cluster.deliver(None) {}
    let failed = || "TASK_FAILED".to_owned();
    assert_eq!(
        shown(&cluster, 0),
        (
            "DEPLOYING",
            "BACKOFF".to_owned(),
            "trying again in 1s after: init ended (TASK_FAILED)".to_owned(),
            ("PENDING", None, 0, failed())
        )
    );
    cluster.tick(Duration::from_secs(1));
    assert_eq!(
        shown(&cluster, 0),
        (
            "WAITING",
            "WAITING".to_owned(),
            "trying again now after: init ended (TASK_FAILED)".to_owned(),
            ("PENDING", None, 0, failed())
        )
    );
    while live(&cluster).is_empty() {
        round(&mut cluster);
    }
    cluster.task_starts();
    round(&mut cluster);
    assert_eq!(shown(&cluster, 0).3, ("TASK_RUNNING", Some(true), 1, String::new()));
    cluster.agent_down(0);
    cluster.agent_down(1);
    round(&mut cluster);
    assert_eq!(shown(&cluster, 0).0, "WAITING");
}

#[test]
fn a_service_that_ran_is_degraded_and_its_finished_tasks_say_nothing_of_the_server() {
    let mut cluster = Cluster::new(2);
    deploy(&mut cluster);
    assert_eq!(shown(&cluster, 0).3, ("TASK_FINISHED", None, 0, String::new()));
    // A scheduler that was started anew still knows that it ran.
    cluster.restart_scheduler();
    round(&mut cluster);
    cluster.task_ends(false);
    while cluster.deliver(None) {}
    let after = "trying again in 1s after: server ended (TASK_FAILED)".to_owned();
    let row = ("PENDING", None, 0, "TASK_FAILED".to_owned());
    assert_eq!(shown(&cluster, 1), ("DEGRADED", "BACKOFF".to_owned(), after, row));
    assert_eq!(shown(&cluster, 0).3, ("TASK_FINISHED", None, 0, String::new()));
}

#[test]
fn a_task_that_is_out_of_sight_is_not_ready() {
    let mut cluster = Cluster::new(1);
    deploy(&mut cluster);
    let running = cluster.status_of("db.p-0.server.2");
    for (state, ready) in [
        (TaskState::Running, Some(true)),
        (TaskState::Unreachable, None),
        (TaskState::Killing, None),
    ] {
        let status =
            TaskStatus { state, ready: Some(true), healthy: Some(true), ..running.clone() };
        let event = Input::Event(Box::new(Event::Status(status)));
        cluster.scheduler.step(cluster.now, event);
        let row = &cluster.scheduler.view("db").unwrap().pods[0].tasks[1];
        assert_eq!((row.state, row.ready, row.healthy), (state.as_str(), ready, ready));
    }
}

#[test]
fn a_pod_waits_for_the_machine_that_has_its_data_and_says_so() {
    let mut cluster = Cluster::new(3);
    deploy(&mut cluster);
    cluster.agent_down(0);
    round(&mut cluster);
    assert_eq!(pod(&cluster).0, "UNREACHABLE");
    assert_eq!(cluster.scheduler.view("db").unwrap().state, "DEGRADED");
    cluster.restart_scheduler();
    for _ in 0..40 {
        round(&mut cluster);
    }
    assert_eq!(live(&cluster), ["db.p-0.server.2 TASK_RUNNING"], "nothing was started elsewhere");
    cluster.agent_up(0);
    cluster.lose_tasks(0, TaskState::Lost);
    cluster.agent_down(0);
    round(&mut cluster);
    round(&mut cluster);
    let (state, message) = pod(&cluster);
    assert_eq!(state, "WAITING");
    assert_eq!(
        message,
        "server ended (TASK_LOST); waiting for agent host-1 (00000000000000000000000000000001), which is unreachable, where db.p-0.data lies"
    );
    cluster.agent_up(0);
    for _ in 0..31 {
        round(&mut cluster);
    }
    assert_eq!(live(&cluster), ["db.p-0.server.3 TASK_STAGING"]);
}

#[test]
fn an_unplaced_pod_says_why_each_offer_does_not_fit() {
    let mut cluster = Cluster::new(2);
    apply(&mut cluster, document("cpu: 1,", "cpu: 3,")).unwrap();
    round(&mut cluster);
    round(&mut cluster);
    assert_eq!(
        pod(&cluster),
        (
            "WAITING".to_owned(),
            "no offer fits: host-1: cpus: 3 wanted, 2 offered; host-2: cpus: 3 wanted, 2 offered"
                .to_owned()
        )
    );
}

#[test]
fn what_cannot_change_is_refused_by_field_and_the_rest_restarts() {
    let mut cluster = Cluster::new(1);
    deploy(&mut cluster);
    for (from, to, field) in [
        ("1GiB", "2GiB", "pods.p.volumes.data.size"),
        ("cpu: 1,", "cpu: 2,", "pods.p.resources.cpu"),
        ("512MiB", "1GiB", "pods.p.resources.memory"),
        ("sql: auto", "sql: 31000", "pods.p.resources.ports"),
        ("storage/test", "storage/other", "role"),
        ("{ data: { size", "{ log: { size: 1GiB, path: log }, data: { size", "pods.p.volumes"),
        ("  p:", "  q:", "pods.p"),
    ] {
        let text = DOCUMENT.replace(from, to);
        let refused = apply(&mut cluster, parse(&text, None).unwrap().remove(0)).unwrap_err();
        assert_eq!((refused.code, refused.field.as_str()), (ErrorCode::ServiceConflict, field));
    }
    let all =
        DOCUMENT.replace("1GiB", "2GiB").replace("cpu: 1,", "cpu: 2,").replace("auto", "31000");
    assert_eq!(
        apply(&mut cluster, parse(&all, None).unwrap().remove(0)).unwrap_err().to_string(),
        "service db cannot change pods.p.volumes.data.size from \"1 GiB\" to \"2 GiB\", nor pods.p.resources.cpu from \"1\" to \"2\", nor pods.p.resources.ports from \"sql: auto\" to \"sql: 31000\" (field pods.p.volumes.data.size): put the old value back, or delete the service with its volumes and apply the document again"
    );
    assert_eq!(cluster.scheduler.view("db").unwrap().version, 1);
    let backoff = document("    tasks:", "    restart: { backoff: { start: 2s } }\n    tasks:");
    assert_eq!(changes(apply(&mut cluster, backoff)), ["db: pod p-0 changed, without a restart"]);
    round(&mut cluster);
    assert_eq!(live(&cluster), ["db.p-0.server.2 TASK_RUNNING"]);
    let command = document("'serve", "'serve --fast");
    assert_eq!(changes(apply(&mut cluster, command)), ["db: pod p-0 changed, it will restart"]);
    for _ in 0..3 {
        round(&mut cluster);
    }
    assert_eq!(live(&cluster), ["db.p-0.server.3 TASK_STAGING"]);
    let restart = Command::Restart { service: "db".to_owned(), instance: Some("p-1".to_owned()) };
    assert_eq!(
        ask(&mut cluster, restart).unwrap_err().to_string(),
        "service db has no pod p-1 (field pod): name one of p-0"
    );
}

#[test]
fn a_task_with_scope_service_and_unknown_outcome_waits_for_a_user() {
    let mut cluster = Cluster::new(1);
    apply(&mut cluster, document("scope: volume", "scope: service")).unwrap();
    round(&mut cluster);
    round(&mut cluster);
    cluster.create_ends(true);
    cluster.task_starts();
    round(&mut cluster);
    cluster.lose_tasks(0, TaskState::Lost);
    for _ in 0..70 {
        round(&mut cluster);
    }
    let (state, message) = pod(&cluster);
    assert_eq!((state.as_str(), live(&cluster)), ("HELD", Vec::new()));
    assert_eq!(
        message,
        "nobody knows whether init did its work, which may be done only once: see to it, then berth service restart db"
    );
    let restart = Command::Restart { service: "db".to_owned(), instance: None };
    assert_eq!(
        ask(&mut cluster, restart),
        Ok(Reply::Restarting { instances: vec!["p-0".to_owned()] })
    );
    round(&mut cluster);
    assert_eq!(live(&cluster), ["db.p-0.init.2 TASK_STAGING"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut cluster = Cluster::new(1);
    let command = Command::Apply { services: vec![document("", "")], dry_run: true };
    assert_eq!(changes(ask(&mut cluster, command)), ["db: created with pod p-0"]);
    assert_eq!((cluster.ledger.len(), cluster.scheduler.views().len()), (0, 0));
}

#[test]
fn a_pod_that_comes_out_of_its_pause_is_offered_what_was_declined_meanwhile() {
    let mut cluster = Cluster::new(1);
    deploy(&mut cluster);
    let big = DOCUMENT.replace("name: db", "name: big").replace("cpu: 1,", "cpu: 9,");
    apply(&mut cluster, parse(&big, None).unwrap().remove(0)).unwrap();
    round(&mut cluster);
    cluster.task_ends(false);
    while cluster.deliver(None) {}
    // In the pause everything is offered, and declined for a long time: nobody can use it now.
    cluster.offer();
    while cluster.deliver(None) {}
    assert_eq!(pod(&cluster).0, "BACKOFF");
    cluster.filtered.insert(crate::cluster::ROLE.parse().unwrap());
    round(&mut cluster);
    round(&mut cluster);
    assert_eq!(live(&cluster), ["db.p-0.server.3 TASK_STAGING"]);
}
