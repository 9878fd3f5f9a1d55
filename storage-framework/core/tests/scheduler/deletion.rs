//! Deleting a service: what is kept, what goes, and what is said while something cannot go.

use crate::cluster::{Cluster, Crash};
use crate::scenarios::{apply, ask, changes, deploy, document, live, pod, round};
use berth_framework_core::scheduler::{Command, Reply};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::parse_resources;
use std::time::Duration;

#[test]
fn deleting_keeps_volumes_unless_told_otherwise() {
    let mut cluster = Cluster::new(2);
    deploy(&mut cluster);
    let delete = |volumes| Command::Delete { service: "db".to_owned(), volumes };
    let kept = Reply::Deleting { kept_volumes: vec!["db.p-0.data".to_owned()] };
    assert_eq!(ask(&mut cluster, delete(false)), Ok(kept.clone()));
    assert_eq!(apply(&mut cluster, document("", "")).unwrap_err().code, ErrorCode::ServiceNotReady);
    for _ in 0..4 {
        round(&mut cluster);
    }
    assert_eq!(cluster.scheduler.view("db"), None);
    assert_eq!(cluster.volumes.len(), 1);
    assert_eq!(ask(&mut cluster, delete(false)), Ok(kept));
    // The same name takes them up again, with what was done on them.
    let reply = apply(&mut cluster, document("", ""));
    assert_eq!(changes(reply), ["db: created with pod p-0, on the volumes that were kept"]);
    round(&mut cluster);
    round(&mut cluster);
    assert_eq!(live(&cluster), ["db.p-0.server.3 TASK_STAGING"]);
    assert_eq!(ask(&mut cluster, delete(true)), Ok(Reply::Deleting { kept_volumes: Vec::new() }));
    for _ in 0..6 {
        round(&mut cluster);
    }
    assert_eq!((cluster.volumes.len(), cluster.scheduler.state().services.len()), (0, 0));
    assert_eq!(
        ask(&mut cluster, delete(true)).unwrap_err().to_string(),
        "no service is named db (field name): berth service list shows all"
    );
}

#[test]
fn disk_that_is_reserved_to_the_role_is_used_found_again_and_left_to_the_role() {
    let mut cluster = Cluster::new(1);
    cluster.agents[0].free =
        parse_resources("cpus:2;mem:1024;disk(storage/test):4096;ports:[31000-31010]").unwrap();
    // Up to the second task, which runs on the volume that the first one found made.
    deploy(&mut cluster);
    cluster.task_ends(false);
    for _ in 0..3 {
        round(&mut cluster);
    }
    assert_eq!(live(&cluster), ["db.p-0.server.3 TASK_STAGING"]);
    let delete = Command::Delete { service: "db".to_owned(), volumes: true };
    ask(&mut cluster, delete).unwrap();
    for _ in 0..40 {
        round(&mut cluster);
    }
    assert_eq!((cluster.volumes.len(), cluster.scheduler.state().services.len()), (0, 0));
    cluster.rescind();
    assert_eq!(
        cluster.agents[0].free.to_string(),
        "cpus:2; mem:1024; disk(static:storage/test):4096; ports:[31000-31010]"
    );
}

#[test]
fn a_volume_that_cannot_be_destroyed_says_why_and_is_asked_for_again_after_a_pause() {
    let mut cluster = Cluster::new(1);
    deploy(&mut cluster);
    let held = Rejection::new(ErrorCode::SnapshotHeld, "snapshot one of db.p-0.data is held");
    cluster.refusal = Some(held.remedy("release it"));
    ask(&mut cluster, Command::Delete { service: "db".to_owned(), volumes: true }).unwrap();
    let begun = cluster.now;
    while cluster.refusal.is_some() {
        round(&mut cluster);
    }
    let refused = cluster.now;
    for _ in 0..28 {
        round(&mut cluster);
        let why = "volume db.p-0.data: SNAPSHOT_HELD: snapshot one of db.p-0.data is held: release it; waiting for agent host-1 (00000000000000000000000000000001) to remove volume db.p-0.data (berth service delete db ends the service without it)";
        assert_eq!(pod(&cluster), ("RELEASING".to_owned(), why.to_owned()));
        assert_eq!(cluster.destroys, 1, "after {:?}", cluster.now.since(begun));
    }
    while !cluster.volumes.is_empty() {
        round(&mut cluster);
        assert!(cluster.now.since(refused) < Duration::from_mins(2));
    }
    assert_eq!(cluster.destroys, 2);
    for _ in 0..4 {
        round(&mut cluster);
    }
    assert_eq!(cluster.scheduler.state().services.len(), 0);
}

/// A deployed service whose server has been ended, since it is being deleted with its volume.
fn deleting(cluster: &mut Cluster) {
    deploy(cluster);
    ask(cluster, Command::Delete { service: "db".to_owned(), volumes: true }).unwrap();
    while cluster.deliver(None) {}
    assert_eq!((live(cluster), cluster.volumes.len()), (vec![], 1));
}

#[test]
fn a_service_is_not_gone_with_its_volumes_while_a_volume_is_out_of_reach() {
    let mut cluster = Cluster::new(2);
    deleting(&mut cluster);
    cluster.hide_volume(true);
    for _ in 0..120 {
        round(&mut cluster);
    }
    let left = "waiting for agent host-1 (00000000000000000000000000000001) to remove volume db.p-0.data (berth service delete db ends the service without it)";
    let why = format!("volume db.p-0.data: VOLUME_NOT_READY: db.p-0.data is LOST; {left}");
    assert_eq!(pod(&cluster), ("RELEASING".to_owned(), why));
    assert!((1..=4).contains(&cluster.destroys), "asked {} times", cluster.destroys);
    cluster.restart_scheduler();
    assert_eq!(pod(&cluster).1, left);
    cluster.rescind();
    cluster.hide_volume(false);
    for _ in 0..60 {
        round(&mut cluster);
    }
    assert_eq!((cluster.volumes.len(), cluster.scheduler.state().services.len()), (0, 0));
}

#[test]
fn a_volume_that_somebody_else_deleted_is_gone_when_the_master_says_so() {
    let mut cluster = Cluster::new(2);
    deleting(&mut cluster);
    cluster.hide_volume(true);
    cluster.volumes.clear();
    let begun = cluster.now;
    while !cluster.scheduler.state().services.is_empty() {
        round(&mut cluster);
        assert!(cluster.now.since(begun) < Duration::from_mins(3), "{:?}", pod(&cluster));
    }
}

#[test]
fn a_service_is_not_gone_with_its_volumes_while_their_disk_is_withheld() {
    for keep in [false, true] {
        let mut cluster = Cluster::new(2);
        deleting(&mut cluster);
        cluster.agents[0].cordoned = true;
        for _ in 0..120 {
            round(&mut cluster);
        }
        let left = "waiting for agent host-1 (00000000000000000000000000000001) to give back 1 GiB of disk, which it does not offer while the disk is cordoned or faulty: see berth disk health (berth service delete db ends the service without it)";
        assert_eq!(pod(&cluster), ("RELEASING".to_owned(), left.to_owned()));
        cluster.restart_scheduler();
        assert_eq!((pod(&cluster).1.as_str(), cluster.volumes.len()), (left, 0));
        if keep {
            // The volumes that would be kept are gone, so that there is nothing to take up again.
            let delete = Command::Delete { service: "db".to_owned(), volumes: false };
            let reply = ask(&mut cluster, delete);
            assert_eq!(reply, Ok(Reply::Deleting { kept_volumes: Vec::new() }));
        } else {
            cluster.uncordon(0);
        }
        for _ in 0..60 {
            round(&mut cluster);
        }
        assert_eq!(cluster.scheduler.state().services.len(), 0);
    }
}

#[test]
fn who_thinks_better_of_it_keeps_the_volumes_that_are_still_there() {
    let mut cluster = Cluster::new(2);
    deleting(&mut cluster);
    cluster.hide_volume(true);
    for _ in 0..40 {
        round(&mut cluster);
    }
    let kept = Reply::Deleting { kept_volumes: vec!["db.p-0.data".to_owned()] };
    let delete = Command::Delete { service: "db".to_owned(), volumes: false };
    assert_eq!(ask(&mut cluster, delete), Ok(kept));
    for _ in 0..40 {
        round(&mut cluster);
    }
    assert_eq!(cluster.scheduler.view("db"), None);
    cluster.rescind();
    cluster.hide_volume(false);
    let reply = apply(&mut cluster, document("", ""));
    assert_eq!(changes(reply), ["db: created with pod p-0, on the volumes that were kept"]);
    for _ in 0..3 {
        round(&mut cluster);
    }
    assert_eq!(live(&cluster), ["db.p-0.server.3 TASK_STAGING"]);
}

#[test]
fn a_deletion_with_volumes_survives_a_crash_at_each_step() {
    let crashes = [Crash::BeforeSync, Crash::AfterSync, Crash::AfterOutputs(1)];
    for (crash, step) in crashes.iter().flat_map(|crash| (0..12).map(move |step| (crash, step))) {
        let mut cluster = Cluster::new(1);
        deleting(&mut cluster);
        let mut seen = 0;
        for _ in 0..90 {
            cluster.connect();
            cluster.tick(Duration::from_secs(1));
            cluster.offer();
            loop {
                let now = (seen == step).then_some(*crash);
                if !cluster.deliver(now) {
                    break;
                }
                seen += 1;
            }
            cluster.check();
        }
        let left = (cluster.volumes.len(), cluster.scheduler.state().services.len());
        assert_eq!(left, (0, 0), "{crash:?} at {step}: {:?}", cluster.scheduler.views());
        cluster.rescind();
        let free = cluster.agents[0].free.to_string();
        assert_eq!(free, "cpus:2; mem:1024; disk:4096; ports:[31000-31010]", "{crash:?} at {step}");
    }
}
