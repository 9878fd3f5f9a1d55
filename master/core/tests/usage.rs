//! What agents measure of volumes, and what is shown of it.

mod stage;

use berth_model::link::FromAgent;
use berth_model::units::{Bytes, Timestamp};
use berth_model::usage::{Measured, Trend};
use berth_model::view::UsageView;
use berth_model::volume::{VolumeSpec, VolumeState};
use stage::{Stage, report, session, volume_id};
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";
const STEP: Duration = Duration::from_secs(300);

fn measured(stage: &mut Stage, volume: &VolumeSpec, mib: u64) -> Option<UsageView> {
    stage.now = stage.now.after(STEP);
    let found = Measured { bytes: Bytes::from_mib(mib), inodes: Some(7), inodes_limit: Some(9) };
    let told = vec![(volume.id, found), (volume_id(77), found)];
    let step = stage.agent_says(1, session(1), FromAgent::Usage(told));
    assert_eq!(step.writes, [], "nothing of it is durable");
    stage.volume("data").usage
}

#[test]
fn measurements_become_a_trend_and_a_new_life_begins_without() {
    let mut stage = Stage::with(|config| config.agent_timeout = STEP * 100);
    stage.register(1, MACHINE);
    let volume = stage.make_volume(1, session(1), "data", 1024);
    assert_eq!(stage.volume("data").usage, None);
    let first = measured(&mut stage, &volume, 100);
    let now = Measured { bytes: Bytes::from_mib(100), inodes: Some(7), inodes_limit: Some(9) };
    let at = Timestamp::from_ms(1_300_000);
    assert_eq!(first, Some(UsageView { measured: at, now, trend: None }));
    assert_eq!(measured(&mut stage, &volume, 110).and_then(|usage| usage.trend), None);
    let third = measured(&mut stage, &volume, 120).and_then(|usage| usage.trend);
    let trend = Trend { window: STEP * 2, change: 20 << 20 };
    assert_eq!(third, Some(trend));
    assert_eq!(trend.full_in(Bytes::from_mib(904)), Some(Duration::from_secs(27_120)));
    assert_eq!(stage.volume("data").used, Some(Bytes::from_mib(120)));

    let choice = berth_model::operator::VolumeChoice::Id(volume.id);
    let destroy = berth_model::operator::Request::DestroyVolume { volume: choice };
    let (destroyed, _) = stage.operator(30, destroy);
    assert!(destroyed.is_ok(), "{destroyed:?}");
    stage.reports(1, session(1), report(&volume, VolumeState::Trashed));
    let restore = berth_model::operator::Request::RestoreVolume { volume: volume.id };
    let (restored, _) = stage.operator(31, restore);
    assert!(restored.is_ok(), "{restored:?}");
    let back = VolumeSpec { generation: 2, ..volume };
    stage.reports(1, session(1), report(&back, VolumeState::Ready));
    assert_eq!(stage.volume("data").usage, None, "another life");
}
