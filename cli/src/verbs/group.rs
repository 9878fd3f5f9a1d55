//! Snapshots of several volumes at one moment.

use super::snapshot::principal;
use super::volume::{VOLUME, pick, volumes};
use crate::args::{Act, SnapshotCreate};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use crate::rows::SnapshotRow;
use crate::verbs::operation;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::GroupId;
use berth_model::operation::OperationKind;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::snapshot::Freeze;
use berth_model::view::SnapshotView;
use std::collections::BTreeSet;

/// `berth snapshot create --group VOLUME,…`.
pub(crate) async fn create(
    create: &SnapshotCreate,
    named: &[String],
    freeze: Option<Freeze>,
) -> Result<(), Failure> {
    let Act { change, read } = &create.trial.act;
    let client = Client::connect(&read.connect).await?;
    let earlier = operation::earlier(&client, &[OperationKind::SnapshotGroup], change).await?;
    let views = volumes(&client, &create.of, false).await?;
    let mut chosen = Vec::new();
    let mut names = Vec::new();
    for text in named {
        match pick(&VOLUME, &views, text) {
            Ok(view) => {
                let spec = &view.volume.spec;
                chosen.push(VolumeChoice::Id(spec.id));
                names.push(format!("{}/{}", spec.role, spec.name));
            },
            Err(absent) => {
                return earlier.stands_for(&client, text, (change, &read.show), absent).await;
            },
        }
    }
    let request = Request::CreateGroup {
        volumes: chosen,
        name: create.name.clone(),
        principal: principal(create.principal.as_deref())?,
        freeze,
    };
    if create.trial.dry_run {
        client.check(request).await?;
        let text = format!("would take snapshots of volumes {} at one moment", names.join(", "));
        return output::planned(&text, &read.show);
    }
    let Some(record) = operation::submit(&client, request, change, &read.show).await? else {
        return Ok(());
    };
    let group = GroupId::from_u128(record.id.as_u128());
    let mut taken = client.snapshots(None).await?;
    taken.retain(|view| is_of(view, &group.to_string()));
    let rows: Vec<SnapshotRow> =
        taken.iter().map(|view| SnapshotRow::new(view, client.now())).collect();
    output::list(&rows, &read.show)
}

/// Keeps those of the group with this id, or one that begins so. A name belongs to each snapshot of a group, and to no group.
pub(crate) fn retain(views: &mut Vec<SnapshotView>, text: &str) -> Result<(), Failure> {
    let groups: BTreeSet<GroupId> = views
        .iter()
        .filter(|view| is_of(view, text))
        .filter_map(|view| view.snapshot.group.as_ref().map(|group| group.id))
        .collect();
    let ids: Vec<String> = groups.iter().map(ToString::to_string).collect();
    match ids.as_slice() {
        [_one] => {},
        [] => {
            return Err(Failure::not_found(
                ErrorCode::UnknownSnapshot,
                format!(
                    "no snapshot is of a group {text}: the id of a group is wanted, or its beginning"
                ),
                "see group_id in `berth snapshot list -o json`; the id is that of the operation that took the group",
            ));
        },
        several => {
            let text = format!("group {text} fits {}: {}", several.len(), several.join(", "));
            let error = Rejection::new(ErrorCode::AmbiguousId, text);
            return Err(Failure::from(error.remedy("give more of it, up to the whole id")));
        },
    }
    views.retain(|view| is_of(view, text));
    Ok(())
}

/// Is the snapshot one of the group with this id, or one that begins so?
pub(crate) fn is_of(view: &SnapshotView, text: &str) -> bool {
    let text = text.replace('-', "").to_ascii_lowercase();
    view.snapshot.group.is_some_and(|group| group.id.to_string().starts_with(&text))
}
