//! The scheduler against a small cluster: random events, crashes at every point of a step, then healing.

use crate::cluster::{Cluster, Crash, ROLE};
use berth_framework_core::document::{Service, parse};
use berth_framework_core::scheduler::Command;
use proptest::prelude::*;
use std::time::Duration;

fn service(version: u32) -> Service {
    let text = format!(
        "apiVersion: berth/v1\nkind: Service\nname: db\nrole: {ROLE}\npods:\n  p:\n    resources: {{ cpu: 1, memory: 512MiB, ports: {{ sql: auto }} }}\n    volumes: {{ data: {{ size: 1GiB, path: data }} }}\n    tasks:\n      format: {{ goal: once, scope: service, cmd: format }}\n      init: {{ goal: once, scope: volume, cmd: init }}\n      server: {{ goal: running, cmd: serve {version} }}\n"
    );
    parse(&text, None).unwrap().remove(0)
}

fn apply(version: u32) -> Command {
    Command::Apply { services: vec![service(version)], dry_run: false }
}

#[derive(Clone, Copy, Debug)]
enum Do {
    Connect,
    Disconnect,
    Deliver(Option<Crash>),
    Offer,
    Rescind,
    Tick(u64),
    Start,
    End(bool),
    Create(bool),
    Crash,
    Down(usize),
    Up(usize),
    Apply(u32),
    Restart,
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        Just(Crash::BeforeSync),
        Just(Crash::AfterSync),
        (0_usize..4).prop_map(Crash::AfterOutputs),
    ]
}

fn action() -> impl Strategy<Value = Do> {
    prop_oneof![
        3 => Just(Do::Connect),
        1 => Just(Do::Disconnect),
        12 => Just(Do::Deliver(None)),
        3 => crash().prop_map(|crash| Do::Deliver(Some(crash))),
        5 => Just(Do::Offer),
        2 => Just(Do::Rescind),
        5 => prop_oneof![Just(100_u64), Just(1_000), Just(11_000), Just(61_000)].prop_map(Do::Tick),
        5 => Just(Do::Start),
        4 => any::<bool>().prop_map(Do::End),
        4 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Do::Create),
        1 => Just(Do::Crash),
        1 => (0_usize..3).prop_map(Do::Down),
        2 => (0_usize..3).prop_map(Do::Up),
        1 => (0_u32..3).prop_map(Do::Apply),
        1 => Just(Do::Restart),
    ]
}

fn run(cluster: &mut Cluster, action: Do) {
    match action {
        Do::Connect => cluster.connect(),
        Do::Disconnect => cluster.disconnect(),
        Do::Deliver(crash) => drop(cluster.deliver(crash)),
        Do::Offer => cluster.offer(),
        Do::Rescind => cluster.rescind(),
        Do::Tick(ms) => cluster.tick(Duration::from_millis(ms)),
        Do::Start => cluster.task_starts(),
        Do::End(success) => cluster.task_ends(success),
        Do::Create(success) => cluster.create_ends(success),
        Do::Crash => cluster.restart_scheduler(),
        Do::Down(index) => {
            if cluster.agents[index].up {
                cluster.agent_down(index);
            }
        },
        Do::Up(index) => {
            if !cluster.agents[index].up {
                cluster.agent_up(index);
            }
        },
        Do::Apply(version) => cluster.command(apply(version)),
        Do::Restart => {
            cluster.command(Command::Restart { service: "db".to_owned(), instance: None });
        },
    }
    cluster.check();
}

/// One round of a healthy cluster: time passes, everything is delivered, whatever starts or is made succeeds.
fn healthy_round(cluster: &mut Cluster) {
    cluster.connect();
    cluster.tick(Duration::from_secs(7));
    cluster.offer();
    while cluster.deliver(None) {}
    cluster.create_ends(true);
    cluster.task_starts();
    while cluster.deliver(None) {}
    let once = cluster
        .tasks
        .values()
        .any(|task| !task.state.is_terminal() && !task.info.name.ends_with(".server"));
    if once {
        cluster.task_ends(true);
    }
    while cluster.deliver(None) {}
    cluster.check();
}

fn heal(cluster: &mut Cluster) {
    for index in 0..cluster.agents.len() {
        if !cluster.agents[index].up {
            cluster.agent_up(index);
        }
    }
}

fn state(cluster: &Cluster) -> String {
    cluster.scheduler.view("db").map_or_else(|| "GONE".to_owned(), |view| view.state.to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_data_has_one_place_and_the_service_comes_back(
        actions in prop::collection::vec(action(), 0..200),
        volumes_go in any::<bool>(),
        pipelined in any::<bool>(),
    ) {
        let mut cluster = Cluster::new(3);
        cluster.pipelined = pipelined;
        cluster.command(apply(0));
        for action in actions {
            run(&mut cluster, action);
        }
        heal(&mut cluster);
        for _ in 0..60 {
            healthy_round(&mut cluster);
        }
        let view = cluster.scheduler.view("db").unwrap();
        prop_assert_eq!(view.state, "RUNNING", "{:#?}", view);

        let written: Vec<_> = cluster.written.iter().cloned().collect();
        cluster.command(Command::Delete { service: "db".to_owned(), volumes: volumes_go });
        for _ in 0..20 {
            healthy_round(&mut cluster);
        }
        prop_assert_eq!(state(&cluster), "GONE");
        let reserved = |cluster: &Cluster| {
            cluster.agents.iter().flat_map(|a| a.free.iter().collect::<Vec<_>>())
                .filter(|r| !r.stack.is_unreserved() && r.persistence().is_none()).count()
        };
        if volumes_go {
            prop_assert!(cluster.volumes.is_empty(), "{:?}", cluster.volumes);
            prop_assert_eq!(cluster.scheduler.state().services.len(), 0);
        } else {
            prop_assert_eq!(cluster.written.iter().cloned().collect::<Vec<_>>(), written.clone());
            cluster.command(apply(1));
            for _ in 0..10 {
                healthy_round(&mut cluster);
            }
            prop_assert_eq!(state(&cluster), "RUNNING");
            prop_assert_eq!(cluster.written.iter().cloned().collect::<Vec<_>>(), written);
            cluster.command(Command::Delete { service: "db".to_owned(), volumes: false });
            for _ in 0..20 {
                healthy_round(&mut cluster);
            }
        }
        prop_assert_eq!(reserved(&cluster), 0);
    }
}
