//! Snapshots: take, look at, hold and delete them; roll a volume back to one, make a volume from one.

use super::volume::{VOLUME, pick, show_one, volumes};
use crate::args::{
    Act, Change, OfRole, OneSnapshot, Snapshot, SnapshotCreate, SnapshotHold, Trial, VolumeClone,
    VolumeRollback,
};
use crate::client::Client;
use crate::confirm::{ask, type_name};
use crate::failure::Failure;
use crate::output::{self, Show, note};
use crate::resolve::{Kind, find};
use crate::rows::SnapshotRow;
use crate::verbs::operation;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, Principal, SnapshotId, VolumeId, derive};
use berth_model::operation::OperationKind;
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::snapshot::Freeze;
use berth_model::task::Program;
use berth_model::view::{SnapshotView, VolumeView};
use std::sync::Arc;

const SNAPSHOT: Kind =
    Kind { noun: "snapshot", unknown: ErrorCode::UnknownSnapshot, list: "berth snapshot list" };

/// The snapshots of the role, oldest first within their volumes.
async fn snapshots(client: &Client, of: &OfRole) -> Result<Vec<SnapshotView>, Failure> {
    let mut views = client.snapshots(of.role.clone()).await?;
    views.sort_by(|a, b| {
        let key = |v: &SnapshotView| {
            let of = &v.snapshot.spec.of;
            (of.role.clone(), of.name.clone(), v.snapshot.created, v.snapshot.spec.id)
        };
        key(a).cmp(&key(b))
    });
    Ok(views)
}

/// The snapshots of one volume.
pub(crate) async fn of_volume(
    client: &Client,
    volume: VolumeId,
) -> Result<Vec<SnapshotView>, Failure> {
    let mut views = snapshots(client, &OfRole { role: None }).await?;
    views.retain(|view| view.snapshot.spec.of.id == volume);
    Ok(views)
}

pub(crate) fn pick_snapshot<'a>(
    views: &'a [SnapshotView],
    text: &str,
) -> Result<&'a SnapshotView, Failure> {
    let names = |v: &SnapshotView| {
        let spec = &v.snapshot.spec;
        vec![spec.name.to_string(), format!("{}@{}", spec.of.name, spec.name)]
    };
    find(&SNAPSHOT, views, text, |v| v.snapshot.spec.id.to_string(), names)
}

pub(crate) fn principal(text: Option<&str>) -> Result<Option<Principal>, Failure> {
    text.map(Principal::new).transpose().map_err(|e| {
        Failure::from(Rejection::new(ErrorCode::InvalidId, e.to_string()).field("principal"))
    })
}

pub(crate) async fn run(command: &Snapshot) -> Result<(), Failure> {
    match command {
        Snapshot::Create(create) => self::create(create).await,
        Snapshot::List { volume, group, of, read } => {
            let client = Client::connect(&read.connect).await?;
            let now = client.now();
            let mut views = snapshots(&client, of).await?;
            if let Some(text) = volume {
                let mut all = volumes(&client, of, false).await?;
                all.extend(volumes(&client, of, true).await?);
                let id = pick(&VOLUME, &all, text)?.volume.spec.id;
                views.retain(|view| view.snapshot.spec.of.id == id);
            }
            if let Some(group) = group {
                super::group::retain(&mut views, group)?;
            }
            let rows: Vec<SnapshotRow> = views.iter().map(|v| SnapshotRow::new(v, now)).collect();
            output::list(&rows, &read.show)
        },
        Snapshot::Show { which, read } => {
            let client = Client::connect(&read.connect).await?;
            let views = snapshots(&client, &which.of).await?;
            let view = pick_snapshot(&views, &which.snapshot)?;
            output::one(&SnapshotRow::new(view, client.now()), &read.show)
        },
        Snapshot::Delete { which, confirm, act: Act { change, read } } => {
            let OneSnapshot { snapshot, of } = which;
            let client = Client::connect(&read.connect).await?;
            let kind = OperationKind::DeleteSnapshot;
            let earlier = operation::earlier(&client, &[kind], change).await?;
            let views = snapshots(&client, of).await?;
            let view = match pick_snapshot(&views, snapshot) {
                Ok(view) => view,
                Err(absent) => {
                    let told = (change, &read.show);
                    return earlier.stands_for(&client, snapshot, told, absent).await;
                },
            };
            let request = Request::DeleteSnapshot { snapshot: view.snapshot.spec.id };
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            // What cannot be done is said before anybody is asked to confirm it.
            client.admit(request.clone(), change, confirm.safety.dry_run).await?;
            let impact = format!("{}\n  it is deleted for good; its volume stays", shown(view));
            if confirm.safety.dry_run {
                return output::planned(&format!("would delete for good:\n{impact}"), &read.show);
            }
            type_name(&impact, view.snapshot.spec.name.as_str(), confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
        Snapshot::Schedule(schedule) => super::schedule::run(schedule).await,
        Snapshot::Hold(hold) => self::hold(hold, true).await,
        Snapshot::Release(hold) => self::hold(hold, false).await,
    }
}

fn shown(view: &SnapshotView) -> String {
    let spec = &view.snapshot.spec;
    format!(
        "snapshot {} of {}/{} (generation {}), {} when taken, on {}:{}, {}",
        spec.name,
        spec.of.role,
        spec.of.name,
        spec.of.generation,
        spec.of.size,
        view.hostname,
        view.disk,
        view.snapshot.state
    )
}

pub(crate) async fn create(create: &SnapshotCreate) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &create.trial;
    let freeze = create.freeze.as_ref().map(|text| Freeze {
        program: Program::Shell(text.clone()),
        timeout: create.freeze_timeout,
    });
    if let Some(named) = &create.group {
        return super::group::create(create, named, freeze).await;
    }
    let text = create.volume.as_deref().unwrap_or_default();
    let client = Client::connect(&read.connect).await?;
    let earlier = operation::earlier(&client, &[OperationKind::Snapshot], change).await?;
    let views = volumes(&client, &create.of, false).await?;
    let view = match pick(&VOLUME, &views, text) {
        Ok(view) => view,
        Err(absent) => {
            return earlier.stands_for(&client, text, (change, &read.show), absent).await;
        },
    };
    let request = Request::CreateSnapshot {
        volume: VolumeChoice::Id(view.volume.spec.id),
        name: create.name.clone(),
        principal: principal(create.principal.as_deref())?,
        freeze,
    };
    if *dry_run {
        client.check(request).await?;
        let spec = &view.volume.spec;
        let text = format!("would take a snapshot of volume {}/{}", spec.role, spec.name);
        return output::planned(&text, &read.show);
    }
    let done = operation::submit(&client, request, change, &read.show).await?;
    match done {
        Some(record) => show_of(&client, record.id, &read.show).await,
        None => Ok(()),
    }
}

/// Shows the snapshot that an operation has taken.
async fn show_of(client: &Client, operation: OperationId, show: &Show) -> Result<(), Failure> {
    match taken_by(client, operation).await? {
        Some(view) => output::one(&SnapshotRow::new(&view, client.now()), show),
        None => Ok(()),
    }
}

async fn taken_by(
    client: &Client,
    operation: OperationId,
) -> Result<Option<SnapshotView>, Failure> {
    let views = client.snapshots(None).await?;
    Ok(views.into_iter().find(|view| view.snapshot.operation == operation))
}

async fn hold(hold: &SnapshotHold, held: bool) -> Result<(), Failure> {
    let Act { change, read } = &hold.act;
    let client = Client::connect(&read.connect).await?;
    let kind = OperationKind::HoldSnapshot;
    let earlier = operation::earlier(&client, &[kind], change).await?;
    let views = snapshots(&client, &hold.which.of).await?;
    let id = match pick_snapshot(&views, &hold.which.snapshot) {
        Ok(view) => view.snapshot.spec.id,
        Err(absent) => {
            let told = (change, &read.show);
            return earlier.stands_for(&client, &hold.which.snapshot, told, absent).await;
        },
    };
    let request = Request::HoldSnapshot { snapshot: id, held };
    if operation::submit(&client, request, change, &read.show).await?.is_none() {
        return Ok(());
    }
    let views = snapshots(&client, &hold.which.of).await?;
    match views.iter().find(|view| view.snapshot.spec.id == id) {
        Some(view) => output::one(&SnapshotRow::new(view, client.now()), &read.show),
        None => Ok(()),
    }
}

/// `berth volume rollback`.
pub(crate) async fn rollback(command: &VolumeRollback) -> Result<(), Failure> {
    let Act { change, read } = &command.act;
    let client = Client::connect(&read.connect).await?;
    let earlier = operation::earlier(&client, &[OperationKind::RollBack], change).await?;
    let views = volumes(&client, &command.which.of, false).await?;
    let told = (change, &read.show);
    let view = match pick(&VOLUME, &views, &command.which.volume) {
        Ok(view) => view,
        Err(absent) => {
            return earlier.stands_for(&client, &command.which.volume, told, absent).await;
        },
    };
    let id = view.volume.spec.id;
    let all = of_volume(&client, id).await?;
    let to = match pick_snapshot(&all, &command.to) {
        Ok(to) => to,
        Err(absent) => {
            return earlier.stands_for(&client, &command.which.volume, told, absent).await;
        },
    };
    let volume = VolumeChoice::Id(id);
    let request = Request::RollBackVolume { volume, snapshot: to.snapshot.spec.id };
    if earlier.is_known() {
        return operation::submit_and_show(&client, request, change, &read.show).await;
    }
    // What cannot be done is said before anybody is asked to confirm it.
    client.admit(request.clone(), change, command.confirm.dry_run).await?;
    note(&impact_of_rollback(view, to));
    let text =
        "what it holds now is first kept as a snapshot before-rollback-…; nothing is deleted";
    if command.confirm.dry_run {
        return output::planned(&format!("would roll the volume back; {text}"), &read.show);
    }
    ask(text, &command.confirm)?;
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}

fn impact_of_rollback(view: &VolumeView, to: &SnapshotView) -> String {
    let spec = &view.volume.spec;
    format!(
        "{}/{} on {}:{}, generation {}, gets the content of {}",
        spec.role,
        spec.name,
        view.hostname,
        view.disk,
        spec.generation,
        shown(to)
    )
}

/// `berth volume clone`.
pub(crate) async fn clone(command: &VolumeClone) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &command.trial;
    let client = Client::connect(&read.connect).await?;
    let earlier = operation::earlier(&client, &[OperationKind::Clone], change).await?;
    let views = volumes(&client, &command.which.of, false).await?;
    let view = match pick(&VOLUME, &views, &command.which.volume) {
        Ok(view) => view,
        Err(absent) => {
            let told = (change, &read.show);
            return earlier.stands_for(&client, command.new.as_str(), told, absent).await;
        },
    };
    let of = view.volume.spec.id;
    let asked = change.request_id.unwrap_or_else(Client::mint);
    let clone_of = |snapshot: SnapshotId| -> Result<Request, Failure> {
        let path = command
            .path
            .as_deref()
            .map_or_else(|| Arc::clone(&view.volume.container_path), Arc::from);
        Ok(Request::CloneVolume {
            snapshot,
            name: command.new.clone(),
            role: command.new_role.clone(),
            principal: principal(command.principal.as_deref())?,
            container_path: path,
        })
    };
    let request = match &command.snapshot {
        Some(text) => {
            let all = of_volume(&client, of).await?;
            clone_of(pick_snapshot(&all, text)?.snapshot.spec.id)?
        },
        None => {
            let volume = VolumeChoice::Id(of);
            let take =
                Request::CreateSnapshot { volume, name: None, principal: None, freeze: None };
            if !earlier.is_known() {
                // A refusal of the volume would leave the snapshot behind.
                client.admit(room_for(command, view)?, change, *dry_run).await?;
            }
            if *dry_run {
                client.check(take).await?;
                let text = format!("would take a snapshot and make volume {} from it", command.new);
                return output::planned(&text, &read.show);
            }
            // Under an id that follows from the command's own, so that a repeated command takes no second one.
            let id = OperationId::from_u128(derive(asked.as_u128(), 1));
            let id = client.submit(id, take, change).await?;
            let record = operation::wait(&client, id, change.timeout).await?;
            let Some(taken) = taken_by(&client, record.id).await? else {
                let text = format!("the snapshot of operation {id} is not there any more");
                let absent = Failure::from(Rejection::new(ErrorCode::UnknownSnapshot, text));
                let told = (change, &read.show);
                return earlier.stands_for(&client, command.new.as_str(), told, absent).await;
            };
            note(&format!("took {}; it stays", shown(&taken)));
            clone_of(taken.snapshot.spec.id)?
        },
    };
    if *dry_run {
        client.check(request).await?;
        let text = format!("would make volume {} from the snapshot", command.new);
        return output::planned(&text, &read.show);
    }
    let change = Change { request_id: Some(asked), ..change.clone() };
    let done = operation::submit(&client, request, &change, &read.show).await?;
    match done.and_then(|record| record.volumes.first().copied()) {
        Some(id) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}

/// Would the new volume get its name and its room beside the old one?
fn room_for(command: &VolumeClone, view: &VolumeView) -> Result<Request, Failure> {
    let (volume, spec) = (&view.volume, &view.volume.spec);
    Ok(Request::CreateVolume {
        name: command.new.clone(),
        role: command.new_role.clone().unwrap_or_else(|| spec.role.clone()),
        principal: principal(command.principal.as_deref())?,
        size: spec.size,
        agent: Some(volume.agent),
        disk: DiskChoice::Source(spec.source.clone()),
        container_path: command
            .path
            .as_deref()
            .map_or_else(|| Arc::clone(&volume.container_path), Arc::from),
        access: spec.access,
        shared: false,
        encrypted: spec.encrypted,
        import: None,
    })
}
