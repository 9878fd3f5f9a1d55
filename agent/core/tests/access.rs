//! Owner and mode of a volume: intent, effect, result; a crash in between; what cannot be done.

mod scene;

use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_model::access::{Access, Mode, Owner};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::ToAgent;
use berth_model::record::LedgerVolume;
use berth_model::volume::VolumeSpec;
use scene::*;

fn access(id: u32, mode: u32) -> Access {
    Access { owner: Owner::new(id, id).ok(), mode: Mode::new(mode).ok() }
}

fn set(access: Access, generation: u64, op: u128) -> ToAgent {
    ToAgent::SetAccess { volume: volume(1), generation, access, operation: operation(op) }
}

fn books(scene: &Scene) -> LedgerVolume {
    scene.agent.books().volumes()[&volume(1)].clone()
}

/// What was told: the access it has, the one it is being given, and an error.
type Told = (Access, Option<Access>, Option<ErrorCode>);

fn told(outputs: &[berth_agent_core::Output]) -> Vec<Told> {
    let of =
        |r: berth_model::volume::VolumeReport| (r.spec.access, r.setting, r.error.map(|e| e.code));
    reports(outputs).into_iter().map(of).collect()
}

#[test]
fn the_intent_is_in_the_ledger_before_the_effect_and_the_result_is_told() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let (was, wanted) = (Access::default(), access(70, 0o750));
    let outputs = scene.say(set(wanted, 1, 30));
    assert_eq!(told(&outputs), [(was, Some(wanted), None)]);
    let effect = VolumeEffect::SetAccess { spec: spec(1, 1), access: wanted };
    assert_eq!(only_volume_effect(&outputs).1, effect);
    assert_eq!((books(&scene).spec.access, books(&scene).setting), (was, Some(wanted)));
    // Asked again meanwhile nothing is begun twice.
    let again = scene.say(set(wanted, 1, 30));
    assert_eq!((told(&again), volume_effects(&again)), (vec![(was, Some(wanted), None)], vec![]));

    // A crash: what was meant is done when a master has taken the agent in.
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, present());
    let outputs = scene.connect(1);
    assert_eq!(only_volume_effect(&outputs).1, effect);
    let outputs = scene.answer(&outputs, present());
    assert_eq!(told(&outputs), [(wanted, None, None)]);
    assert_eq!((books(&scene).spec.access, books(&scene).setting), (wanted, None));
    let outputs = scene.say(set(wanted, 1, 31));
    assert_eq!((told(&outputs), volume_effects(&outputs)), (vec![(wanted, None, None)], vec![]));
}

#[test]
fn what_fails_leaves_what_was_and_what_is_unclear_is_done_again() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let wanted = access(70, 0o750);
    let outputs = scene.say(set(wanted, 1, 30));
    let error = Rejection::new(ErrorCode::NotPrivileged, "not permitted");
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(error));
    assert_eq!(told(&outputs), [(Access::default(), None, Some(ErrorCode::NotPrivileged))]);
    assert_eq!((books(&scene).spec.access, books(&scene).setting), (Access::default(), None));
    // Repeated by a master that had not heard of the end it is not begun again.
    let outputs = scene.say(set(wanted, 1, 30));
    assert_eq!(told(&outputs), [(Access::default(), None, Some(ErrorCode::NotPrivileged))]);
    assert_eq!(volume_effects(&outputs), []);

    let outputs = scene.say(set(wanted, 1, 31));
    let error = Rejection::new(ErrorCode::DiskFaulty, "input/output error");
    scene.answer(&outputs, VolumeOutcome::Unclear(error));
    assert_eq!(books(&scene).setting, Some(wanted));
    let outputs = scene.wait(std::time::Duration::from_secs(600));
    let effect = VolumeEffect::SetAccess { spec: spec(1, 1), access: wanted };
    assert_eq!(volume_effects(&outputs)[0].1, effect);
}

#[test]
fn another_life_and_a_volume_on_its_way_out_are_refused() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let refused = [(Access::default(), None, Some(ErrorCode::VolumeNotReady))];
    assert_eq!(told(&scene.say(set(access(1, 0o700), 2, 30))), refused);
    scene.say(destroy(1, 1, 31));
    let outputs = scene.say(set(access(1, 0o700), 1, 32));
    assert_eq!((told(&outputs).as_slice(), volume_effects(&outputs)), (&refused[..], vec![]));
}

#[test]
fn a_volume_is_made_with_its_access_and_ensured_whatever_it_has_now() {
    let mut scene = Scene::registered();
    let wanted = VolumeSpec { access: access(7, 0o770), ..spec(1, 1) };
    let ensure = |spec: &VolumeSpec| ToAgent::EnsureVolume {
        spec: spec.clone(),
        operation: operation(9),
        restore: false,
    };
    let outputs = scene.say(ensure(&wanted));
    let effect = VolumeEffect::Create { spec: wanted.clone(), purgeable: vec![] };
    assert_eq!(only_volume_effect(&outputs).1, effect);
    scene.answer(&outputs, present());
    // A registry that was put back may have another: it says so by itself, this is no other volume.
    assert_eq!(told(&scene.say(ensure(&spec(1, 1)))), [(wanted.access, None, None)]);
}
