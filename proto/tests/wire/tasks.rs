//! Arbitrary values of the model: tasks, disks, agents.

use crate::nouns::*;
use crate::wipes::abilities;
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::task::{
    Check, Command, Program, StatusSource, TaskInfo, TaskKey, TaskReason, TaskState, TaskStatus,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn program() -> BoxedStrategy<Program> {
    prop_oneof![
        filled().prop_map(Program::Shell),
        (filled(), vec(text(), 0..3)).prop_map(|(first, mut rest)| {
            rest.insert(0, first);
            Program::Exec(rest)
        })
    ]
    .boxed()
}
fn check() -> BoxedStrategy<Check> {
    (program(), some_span(), some_span(), 1..u32::MAX, span())
        .prop_map(|(program, every, timeout, failures, grace)| Check {
            program,
            every,
            timeout,
            failures,
            grace,
        })
        .boxed()
}
pub fn task_info() -> BoxedStrategy<TaskInfo> {
    let command = (program(), map(), of(filled())).prop_map(|(program, env, user)| Command {
        program,
        env,
        user,
    });
    ((task(), text(), agent(), resources(), command), (of(check()), of(check()), span(), map()))
        .prop_map(
            |((id, name, agent, resources, command), (health, readiness, kill_grace, labels))| {
                TaskInfo {
                    id,
                    name,
                    agent,
                    resources,
                    command,
                    health,
                    readiness,
                    kill_grace,
                    labels,
                }
            },
        )
        .boxed()
}
pub fn task_status() -> BoxedStrategy<TaskStatus> {
    (
        (task(), framework(), of(agent())),
        (
            select(TaskState::ALL.to_vec()),
            select(TaskReason::ALL.to_vec()),
            select(vec![StatusSource::Master, StatusSource::Agent]),
        ),
        (text(), of(rejection()), time(), of(status_id())),
        (any::<Option<bool>>(), any::<Option<bool>>(), of(container()), any::<Option<u32>>()),
    )
        .prop_map(
            |(
                (task, framework, agent),
                (state, reason, source),
                (message, error, at, id),
                (healthy, ready, container, pid),
            )| TaskStatus {
                task,
                framework,
                agent,
                state,
                reason,
                source,
                message,
                error,
                at,
                id,
                healthy,
                ready,
                container,
                pid,
            },
        )
        .boxed()
}
pub fn task_key() -> BoxedStrategy<TaskKey> {
    (framework(), task()).prop_map(|(framework, task)| TaskKey { framework, task }).boxed()
}

pub fn media() -> BoxedStrategy<Media> {
    select(Media::ALL.to_vec()).boxed()
}

pub fn disk() -> BoxedStrategy<Disk> {
    let health = prop_oneof![Just(DiskHealth::Ok), text().prop_map(DiskHealth::Faulty)];
    let last = (arc(), enforcement(), bytes(), bytes(), health, media(), vec(orphan(), 0..3));
    let refused = map().prop_map(|map| {
        map.into_iter().map(|(driver, why)| (Arc::from(driver), why)).collect::<BTreeMap<_, _>>()
    });
    let said = (any::<bool>(), of(arc()), abilities());
    ((disk_id(), arc(), source(), arc(), arc(), refused), last, said)
        .prop_map(
            |(
                (id, name, source, root, driver, no_snapshots),
                (driver_reason, enforcement, size, free, health, media, orphans),
                (added, no_encryption, wipes),
            )| Disk {
                id,
                name,
                source,
                root,
                driver,
                driver_reason,
                enforcement,
                size,
                free,
                health,
                media,
                orphans,
                no_snapshots,
                added,
                wipes,
                no_encryption,
            },
        )
        .boxed()
}
pub fn agent_info() -> BoxedStrategy<AgentInfo> {
    (agent(), arc(), map(), resources(), vec(disk(), 0..3), vec(text(), 0..3), arc())
        .prop_map(|(id, hostname, attributes, declared, disks, limitations, version)| AgentInfo {
            id,
            hostname,
            attributes: Arc::new(attributes),
            declared,
            disks,
            limitations,
            version,
        })
        .boxed()
}
