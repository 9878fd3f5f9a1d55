//! What a person wants to know before a volume goes.

use crate::rows::age;
use berth_model::units::Timestamp;
use berth_model::view::VolumeView;
use berth_model::volume::VolumeState;

/// What a deletion does to a volume in this state: as a plan, and before the question.
pub(super) fn fate(state: VolumeState) -> (&'static str, &'static str) {
    match state {
        VolumeState::Ready => (
            "would move it to the trash; its reservation stays",
            "it goes to the trash, from where it can be restored for a while; its reservation stays",
        ),
        VolumeState::Lost => (
            "would forget its record, since its data is not there; should the data be back by then, it goes to the trash",
            "its data is not there: its record is forgotten, and nothing can be restored; should the data be back by then, it goes to the trash",
        ),
        VolumeState::Creating
        | VolumeState::Failed
        | VolumeState::Tombstoned
        | VolumeState::Trashed
        | VolumeState::Gone
        | VolumeState::Quarantined => (
            "would forget its record; nothing of it is on a disk",
            "its record is forgotten; nothing of it is on a disk",
        ),
    }
}

/// The volume, what it used, and who uses it.
pub(super) fn impact(view: &VolumeView, now: Timestamp) -> String {
    let spec = &view.volume.spec;
    let used = measured(view, now);
    let users: Vec<String> = view.users.iter().map(ToString::to_string).collect();
    let users = if users.is_empty() {
        "nobody".to_owned()
    } else {
        format!("task {}", users.join(", task "))
    };
    format!(
        "{}/{}   {}{used}, on {}:{}, {}\n  in use by   {users}",
        spec.role, spec.name, spec.size, view.hostname, view.disk, view.volume.state
    )
}

/// What it used, and when that was found.
fn measured(view: &VolumeView, now: Timestamp) -> String {
    match (view.usage, view.used) {
        (Some(usage), _) => {
            let used = usage.now.bytes;
            format!(", {used} used (measured {} ago)", age(now, usage.measured.ms()))
        },
        (None, Some(used)) => {
            format!(", {used} used (measured before the master or its agent started)")
        },
        (None, None) => ", what it uses was never measured".to_owned(),
    }
}
