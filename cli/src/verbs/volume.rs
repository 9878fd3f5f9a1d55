//! Volumes and their trash.

use crate::args::{Act, OfRole, OneVolume, Read, Trash, Trial, Volume, VolumeCreate};
use crate::client::Client;
use crate::confirm::{ask, type_name};
use crate::failure::Failure;
use crate::output::{self, note};
use crate::resolve::{Kind, find};
use crate::rows::{TrashRow, UsageRow, VolumeRow};
use crate::verbs::impact::{fate, impact};
use crate::verbs::list::{disk_choice, find_agent};
use crate::verbs::{disk, operation, property, snapshot, stream, transfer, waiting};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::Principal;
use berth_model::operation::OperationKind;
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::snapshot::SnapshotState;
use berth_model::units::Bytes;
use berth_model::view::VolumeView;
use berth_model::volume::VolumeState;
use berth_model::wipe::Wipe;
use std::sync::Arc;

pub(crate) const VOLUME: Kind = Kind {
    noun: "volume",
    unknown: ErrorCode::UnknownVolume,
    list: "berth volume list` and `berth volume trash list",
};
const TRASHED: Kind = Kind {
    noun: "trashed volume",
    unknown: ErrorCode::UnknownVolume,
    list: "berth volume trash list",
};

fn is_of(view: &VolumeView, of: &OfRole) -> bool {
    of.role.as_ref().is_none_or(|role| view.volume.spec.role.as_str() == role)
}

/// The volumes of the role that are (not) in the trash.
pub(crate) async fn volumes(
    client: &Client,
    of: &OfRole,
    trashed: bool,
) -> Result<Vec<VolumeView>, Failure> {
    let mut views = client.volumes(true).await?;
    views.sort_by(|a, b| {
        let key = |v: &VolumeView| (v.volume.spec.role.clone(), v.volume.spec.name.clone());
        key(a).cmp(&key(b))
    });
    views.retain(|v| is_of(v, of) && (v.volume.state == VolumeState::Trashed) == trashed);
    Ok(views)
}

pub(crate) fn pick<'a>(
    kind: &Kind,
    views: &'a [VolumeView],
    text: &str,
) -> Result<&'a VolumeView, Failure> {
    let names = |v: &VolumeView| {
        let spec = &v.volume.spec;
        vec![spec.name.to_string(), format!("{}/{}", spec.role, spec.name)]
    };
    find(kind, views, text, |v| v.volume.spec.id.to_string(), names)
}

/// Shows the volume as it is now.
pub(crate) async fn show_one(
    client: &Client,
    id: berth_model::id::VolumeId,
    show: &output::Show,
) -> Result<(), Failure> {
    let views = client.volumes(true).await?;
    match views.iter().find(|v| v.volume.spec.id == id) {
        Some(view) => {
            let waits_for = waiting::of_volume(client, view).await;
            output::one(&VolumeRow { waits_for, ..VolumeRow::new(view, client.now()) }, show)
        },
        None => Ok(()),
    }
}

pub(crate) async fn run(command: &Volume) -> Result<(), Failure> {
    match command {
        Volume::Create(create) => self::create(create).await,
        Volume::Import(import) => transfer::import(import).await,
        Volume::Export(export) => stream::export(export).await,
        Volume::List { of, read } => {
            let client = Client::connect(&read.connect).await?;
            let now = client.now();
            let views = volumes(&client, of, false).await?;
            let rows: Vec<VolumeRow> = views.iter().map(|v| VolumeRow::new(v, now)).collect();
            output::list(&rows, &read.show)
        },
        Volume::Show { which: OneVolume { volume, of }, read } => {
            let client = Client::connect(&read.connect).await?;
            let mut views = volumes(&client, of, false).await?;
            let view = match pick(&VOLUME, &views, volume) {
                Ok(view) => view,
                Err(absent) => {
                    views = volumes(&client, of, true).await?;
                    pick(&TRASHED, &views, volume).map_err(|_also_absent| in_role(absent, of))?
                },
            };
            let waits_for = waiting::of_volume(&client, view).await;
            let row = VolumeRow { waits_for, ..VolumeRow::new(view, client.now()) };
            output::one(&row, &read.show)
        },
        Volume::Delete { which, confirm, act: Act { change, read } } => {
            let OneVolume { volume, of } = which;
            let client = Client::connect(&read.connect).await?;
            let earlier = operation::earlier(&client, &[OperationKind::Destroy], change).await?;
            let views = volumes(&client, of, false).await?;
            let view = match pick(&VOLUME, &views, volume) {
                Ok(view) => view,
                Err(unknown) => {
                    let absent = in_trash(&client, of, volume).await?;
                    let absent = absent.unwrap_or_else(|| in_role(unknown, of));
                    return earlier.stands_for(&client, volume, (change, &read.show), absent).await;
                },
            };
            note(&impact(view, client.now()));
            if let Some(text) = snapshots_of(&client, view).await? {
                note(&format!(
                    "  {text} with it to the trash; nothing of it is left after a purge"
                ));
            }
            let choice = VolumeChoice::Id(view.volume.spec.id);
            let request = Request::DestroyVolume { volume: choice };
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            // What cannot be done is said before anybody is asked to confirm it.
            client.admit(request.clone(), change, confirm.dry_run).await?;
            let (plan, question) = fate(view.volume.state);
            if confirm.dry_run {
                return output::planned(plan, &read.show);
            }
            ask(question, confirm)?;
            let done = operation::submit(&client, request, change, &read.show).await?;
            match done {
                Some(_) => show_one(&client, view.volume.spec.id, &read.show).await,
                None => Ok(()),
            }
        },
        Volume::Resize { which, size, trial } => resize(which, *size, trial).await,
        Volume::Snapshot(create) => snapshot::create(create).await,
        Volume::Rollback(command) => snapshot::rollback(command).await,
        Volume::Clone(command) => snapshot::clone(command).await,
        Volume::Trash(trash) => self::trash(trash).await,
        Volume::Usage { volume, of, read } => usage(volume.as_deref(), of, read).await,
        Volume::Set(command) => property::set(command).await,
        Volume::Protect(command) => property::protect(command, true).await,
        Volume::Unprotect(command) => property::protect(command, false).await,
    }
}

async fn usage(volume: Option<&str>, of: &OfRole, read: &Read) -> Result<(), Failure> {
    let client = Client::connect(&read.connect).await?;
    let now = client.now();
    let views = volumes(&client, of, false).await?;
    if let Some(text) = volume {
        return output::one(
            &UsageRow::new(pick(&VOLUME, &views, text).map_err(|absent| in_role(absent, of))?, now),
            &read.show,
        );
    }
    let rows: Vec<UsageRow> = views.iter().map(|view| UsageRow::new(view, now)).collect();
    output::list(&rows, &read.show)
}

async fn resize(which: &OneVolume, size: Bytes, trial: &Trial) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = trial;
    let client = Client::connect(&read.connect).await?;
    let kinds = [OperationKind::Grow, OperationKind::Shrink];
    let earlier = operation::earlier(&client, &kinds, change).await?;
    let views = volumes(&client, &which.of, false).await?;
    let volume = match pick(&VOLUME, &views, &which.volume) {
        Ok(view) => &view.volume,
        Err(absent) => {
            let (told, absent) = ((change, &read.show), in_role(absent, &which.of));
            return earlier.stands_for(&client, &which.volume, told, absent).await;
        },
    };
    let (id, from) = (volume.spec.id, volume.spec.size);
    let request = Request::ResizeVolume { volume: VolumeChoice::Id(id), size };
    if *dry_run {
        for fact in client.check(request).await? {
            note(&fact);
        }
        let name = &volume.spec.name;
        let plan = if size < from {
            format!(
                "would resize volume {name} from {from} to {size}, unless it uses more then: its agent measures it"
            )
        } else {
            format!("would resize volume {name} from {from} to {size}")
        };
        return output::planned(&plan, &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}

/// That the volume is in the trash already, when it is.
async fn in_trash(client: &Client, of: &OfRole, text: &str) -> Result<Option<Failure>, Failure> {
    let trashed = volumes(client, of, true).await?;
    let Ok(view) = pick(&TRASHED, &trashed, text) else { return Ok(None) };
    let name = &view.volume.spec.name;
    let error = Rejection::new(
        ErrorCode::VolumeNotReady,
        format!("volume {name} of role {} is in the trash already", view.volume.spec.role),
    );
    let remedy = format!(
        "restore it with `berth volume trash restore {name}`, or delete it for good with `berth volume trash purge {name}`"
    );
    Ok(Some(Failure::from(error.remedy(remedy))))
}

/// Says in which role something was looked for, where only one was.
fn in_role(mut absent: Failure, of: &OfRole) -> Failure {
    if let (Some(role), ErrorCode::UnknownVolume) = (&of.role, absent.error.code) {
        absent.error.message.push_str(&format!(" in role {role}"));
    }
    absent
}

/// The volume's snapshots by name, when it has any.
async fn snapshots_of(client: &Client, view: &VolumeView) -> Result<Option<String>, Failure> {
    let mut views = snapshot::of_volume(client, view.volume.spec.id).await?;
    // Nothing of a failed one is on the disk.
    views.retain(|view| view.snapshot.state != SnapshotState::Failed);
    let names: Vec<String> = views.iter().map(|v| v.snapshot.spec.name.to_string()).collect();
    Ok(match names.as_slice() {
        [] => None,
        [one] => Some(format!("its snapshot {one} goes")),
        several => Some(format!("its {} snapshots ({}) go", several.len(), several.join(", "))),
    })
}

async fn create(create: &VolumeCreate) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &create.trial;
    let client = Client::connect(&read.connect).await?;
    let agent = match &create.agent {
        Some(text) => Some(find_agent(&client.agents().await?, text)?.info.id),
        None => None,
    };
    let principal = create.principal.as_deref().map(Principal::new).transpose();
    let principal = principal.map_err(|e| {
        Failure::from(Rejection::new(ErrorCode::InvalidId, e.to_string()).field("principal"))
    })?;
    let request = Request::CreateVolume {
        name: create.name.clone(),
        role: create.role.clone(),
        principal,
        size: create.size,
        agent,
        disk: match &create.profile {
            Some(profile) => DiskChoice::Profile(profile.clone()),
            None => disk_of(&client, create.disk.as_deref()).await?,
        },
        container_path: Arc::from(create.path.as_str()),
        access: create.access.access(),
        shared: create.shared,
        encrypted: create.encrypt,
        import: None,
    };
    if *dry_run {
        for fact in client.check(request).await? {
            note(&fact);
        }
        let text =
            format!("would create volume {}/{} of {}", create.role, create.name, create.size);
        let text = if create.shared { format!("{text}, shared") } else { text };
        return output::planned(&text, &read.show);
    }
    let done = operation::submit(&client, request, change, &read.show).await?;
    match done.and_then(|record| record.volumes.first().copied()) {
        Some(id) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}

/// The disk that is meant, in any of the ways to name one.
pub(super) async fn disk_of(client: &Client, text: Option<&str>) -> Result<DiskChoice, Failure> {
    match text {
        Some(text) if names_host(text) => {
            Ok(DiskChoice::Id(disk::pick(&client.disks().await?, text)?.disk.id))
        },
        other => Ok(disk_choice(other)),
    }
}

/// Is it HOST:NAME, as the commands about disks take it? A root directory, which may have colons, is not.
fn names_host(disk: &str) -> bool {
    !disk.starts_with('/') && disk.contains(':')
}

async fn trash(command: &Trash) -> Result<(), Failure> {
    match command {
        Trash::List { of, read } => {
            let client = Client::connect(&read.connect).await?;
            let now = client.now();
            let views = volumes(&client, of, true).await?;
            let rows: Vec<TrashRow> =
                views.iter().map(|v| TrashRow(VolumeRow::new(v, now))).collect();
            output::list(&rows, &read.show)
        },
        Trash::Restore { which: OneVolume { volume, of }, trial } => {
            let Trial { dry_run, act: Act { change, read } } = trial;
            let client = Client::connect(&read.connect).await?;
            let earlier = operation::earlier(&client, &[OperationKind::Restore], change).await?;
            let views = volumes(&client, of, true).await?;
            let id = match pick(&TRASHED, &views, volume) {
                Ok(view) => view.volume.spec.id,
                Err(absent) => {
                    let absent = in_role(absent, of);
                    return earlier.stands_for(&client, volume, (change, &read.show), absent).await;
                },
            };
            let request = Request::RestoreVolume { volume: id };
            if *dry_run {
                client.check(request).await?;
                let text = "would take it out of the trash, reserving what is missing";
                return output::planned(text, &read.show);
            }
            match operation::submit(&client, request, change, &read.show).await? {
                Some(_) => show_one(&client, id, &read.show).await,
                None => Ok(()),
            }
        },
        Trash::Purge { which, wipe, confirm, act: Act { change, read } } => {
            let OneVolume { volume, of } = which;
            let client = Client::connect(&read.connect).await?;
            let earlier = operation::earlier(&client, &[OperationKind::Purge], change).await?;
            let views = volumes(&client, of, true).await?;
            let view = match pick(&TRASHED, &views, volume) {
                Ok(view) => view,
                Err(absent) => {
                    let absent = in_role(absent, of);
                    return earlier.stands_for(&client, volume, (change, &read.show), absent).await;
                },
            };
            let request = Request::PurgeVolume { volume: view.volume.spec.id, wipe: *wipe };
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            client.admit(request.clone(), change, confirm.safety.dry_run).await?;
            let mut impact =
                format!("{}\n  its data is deleted for good", impact(view, client.now()));
            match wipe {
                // Only the agent knows how it is configured, and what it can.
                None => impact.push_str(&format!(
                    ", and wiped before that if purge_wipe of agent {} says so: where its disk cannot, nothing is purged; --wipe says it in place of the agent",
                    view.hostname
                )),
                Some(Wipe::None) => impact.push_str(", and its blocks are not overwritten"),
                Some(method) => impact.push_str(&format!(" after it was {}", method.done())),
            }
            if let Some(text) = snapshots_of(&client, view).await? {
                impact.push_str(&format!("\n  {text} with it for good"));
            }
            if confirm.safety.dry_run {
                return output::planned(&format!("would delete for good:\n{impact}"), &read.show);
            }
            type_name(&impact, view.volume.spec.name.as_str(), confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
    }
}
