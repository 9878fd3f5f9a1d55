//! Guarantees and limits of disks by profile, beside those of all disk; what quota left is offered when it may be.

mod stage;

use berth_master_core::Step;
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Filters};
use berth_model::link::FromAgent;
use berth_model::operation::Action;
use berth_model::resources::{DiskSource, Name};
use berth_model::task::TaskState;
use berth_model::units::Scalar;
use stage::quota::{MACHINE, done, refused, set, with_ssd};
use stage::{Stage, agent_id, framework_info, offered, res, session, status, task};
use std::time::Duration;

/// Of each offer all disk, and that of the profile, in MiB.
fn of_ssd(step: &Step) -> Vec<(i64, i64)> {
    let sizes = offered(step).into_iter().map(|offer| {
        let own = offer.resources.filtered(|r| matches!(r.disk_source(), DiskSource::Path(_)));
        let size = |of: &berth_model::resources::Resources| of.total(&Name::Disk).milli() / 1_000;
        (size(&offer.resources), size(&own))
    });
    sizes.collect()
}

#[test]
fn the_disks_of_a_profile_are_left_free_and_offers_keep_within_its_limit() {
    let mut stage = with_ssd();
    done(&mut stage, set("storage", "disk[ssd]=1GiB", ""));
    done(&mut stage, set("web", "", "disk[ssd]=1GiB,disk=11GiB,cpus=1"));
    done(&mut stage, set("batch", "", "cpus=2"));
    let (_, step) = stage.subscribe(20, framework_info("web", &["web"]));
    assert_eq!(
        of_ssd(&step),
        [(11 * 1024, 1024)],
        "all disk that it may have, of that 1 GiB of 4 on ssd"
    );
    let (_, step) = stage.subscribe(21, framework_info("batch", &["batch"]));
    assert_eq!(of_ssd(&step), [(2048, 2048)], "3 GiB are left, and 1 is for storage");
    let (_, step) = stage.subscribe(22, framework_info("db", &["storage/db"]));
    assert_eq!(of_ssd(&step), [(1024, 1024)]);
}

#[test]
fn who_is_guaranteed_any_disk_and_who_is_guaranteed_that_of_a_profile_both_get_it() {
    let mut stage = with_ssd();
    done(&mut stage, set("storage", "disk[ssd]=4GiB", "cpus=1"));
    done(&mut stage, set("batch", "disk=4GiB", ""));
    done(&mut stage, set("web", "", "cpus=1"));
    // 10 GiB turn and 4 do not. Were the 4 for storage not counted as disk, all 10 could go.
    let (_, step) = stage.subscribe(20, framework_info("web", &["web"]));
    assert_eq!(of_ssd(&step), [(6 * 1024, 0)]);
    let (_, step) = stage.subscribe(21, framework_info("db", &["storage"]));
    assert_eq!(of_ssd(&step), [(4 * 1024, 4 * 1024)]);
    let (_, step) = stage.subscribe(22, framework_info("jobs", &["batch"]));
    assert_eq!(of_ssd(&step), [(4 * 1024, 0)]);
}

#[test]
fn a_role_that_is_guaranteed_both_gets_no_more_of_other_disk_than_it_lacks_beside_the_profile() {
    let mut stage = with_ssd();
    done(&mut stage, set("storage", "disk=6GiB,disk[ssd]=4GiB", "cpus=1"));
    done(&mut stage, set("batch", "disk=8GiB", ""));
    let (_, step) = stage.subscribe(21, framework_info("db", &["storage"]));
    assert_eq!(of_ssd(&step), [(6 * 1024, 4 * 1024)]);
    let (_, step) = stage.subscribe(22, framework_info("jobs", &["batch"]));
    assert_eq!(of_ssd(&step), [(8 * 1024, 0)]);
}

#[test]
fn guarantees_by_profile_are_guarantees_of_disk_too() {
    let mut stage = with_ssd();
    done(&mut stage, set("storage", "disk[ssd]=4GiB", ""));
    let error = refused(&mut stage, set("batch", "disk=11GiB", ""));
    assert_eq!(
        (error.code, error.message.as_str()),
        (
            ErrorCode::QuotaOvercommitted,
            "all roles together would be guaranteed disk=15GiB, and there is disk=14GiB"
        )
    );
    done(&mut stage, set("batch", "disk=10GiB", ""));
    // What a role is guaranteed of both it needs once.
    done(&mut stage, set("storage", "disk=4GiB,disk[ssd]=4GiB", ""));
}

#[test]
fn an_agent_that_quota_left_alone_is_offered_when_the_role_has_less_elsewhere() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    done(&mut stage, set("web", "", "cpus=4,mem=4GiB"));
    let (id, _) = stage.subscribe(20, framework_info("web", &["web"]));
    let offer = stage.offers().remove(0);
    let all = Action::Launch(vec![task("all", agent_id(1), res("cpus:4;mem:4096"))]);
    stage.accept(&id, 20, &[&offer], vec![all]);
    assert_eq!(offered(&stage.register(2, MACHINE)), [], "the role has all it may have");
    // Nothing happens on the second agent when the first one is free, and not wanted.
    let ended = status(&id, "all", agent_id(1), TaskState::Finished, 5);
    stage.agent_says(1, session(1), FromAgent::Status(ended));
    let mut found = Vec::new();
    for _ in 0..5 {
        let mut offers = offered(&stage.advance(Duration::from_secs(1)));
        if let Some(at) = offers.iter().position(|offer| offer.agent == agent_id(1)) {
            let filters = Filters { refuse: Duration::from_secs(3_600) };
            let offers = vec![offers.remove(at).id];
            stage.call(&id, 20, Call::Decline { offers, filters });
        }
        found.extend(offers.into_iter().map(|o| (o.agent, o.resources.total(&Name::Cpus))));
    }
    assert_eq!(found, [(agent_id(2), Scalar::from_milli(4_000))]);
}
