//! Orphans both ways: data without a record, records without data.

use super::list::find_agent;
use super::volume::show_one;
use crate::args::{Act, OneOrphan, Orphan, Trial};
use crate::client::Client;
use crate::confirm::{TypedName, type_name};
use crate::failure::Failure;
use crate::output;
use crate::resolve::{Kind, find};
use crate::rows::OrphanRow;
use crate::verbs::operation;
use berth_model::error::ErrorCode;
use berth_model::id::VolumeId;
use berth_model::operation::OperationKind;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::orphan::OrphanChoice;
use berth_model::volume::VolumeState;
use std::sync::Arc;

const ORPHAN: Kind =
    Kind { noun: "orphan", unknown: ErrorCode::UnknownOrphan, list: "berth orphan list" };

/// Data first, by host and path; then records.
async fn orphans(client: &Client, on: Option<&str>) -> Result<Vec<OrphanRow>, Failure> {
    let now = client.now();
    let disks = client.disks().await?;
    let mut rows: Vec<OrphanRow> = disks
        .iter()
        .flat_map(|view| view.disk.orphans.iter().map(|o| OrphanRow::of_data(view, o, now)))
        .collect();
    let volumes = client.volumes(false).await?;
    let lost = volumes.iter().filter(|view| view.volume.state == VolumeState::Lost);
    rows.extend(lost.map(|view| OrphanRow::of_record(view, now)));
    if let Some(text) = on {
        let agents = client.agents().await?;
        let agent = find_agent(&agents, text)?.info.id;
        rows.retain(|row| row.agent == agent);
    }
    rows.sort_by(|a, b| {
        let key = |row: &OrphanRow| {
            (row.kind.clone(), row.hostname.clone(), row.path.clone(), row.volume.clone())
        };
        key(a).cmp(&key(b))
    });
    Ok(rows)
}

fn pick<'a>(rows: &'a [OrphanRow], text: &str) -> Result<&'a OrphanRow, Failure> {
    let names = |row: &OrphanRow| {
        let mut names = vec![row.path.clone()];
        if let (Some(role), Some(name)) = (&row.role, &row.volume) {
            names.extend([name.clone(), format!("{role}/{name}")]);
        }
        names
    };
    find(&ORPHAN, rows, text, |row| row.volume_id.clone().unwrap_or_default(), names)
}

fn choice(row: &OrphanRow) -> OrphanChoice {
    let id = row.volume_id.as_deref().and_then(|id| id.parse::<VolumeId>().ok());
    match id.filter(|_| row.path.is_empty()) {
        Some(id) => OrphanChoice::Record(VolumeChoice::Id(id)),
        None => OrphanChoice::Data { agent: row.agent, path: Arc::from(row.path.as_str()) },
    }
}

pub(crate) async fn run(command: &Orphan) -> Result<(), Failure> {
    match command {
        Orphan::List { agent, read } => {
            let client = Client::connect(&read.connect).await?;
            output::list(&orphans(&client, agent.as_deref()).await?, &read.show)
        },
        Orphan::Show { which: OneOrphan { orphan, agent }, read } => {
            let client = Client::connect(&read.connect).await?;
            output::one(pick(&orphans(&client, agent.as_deref()).await?, orphan)?, &read.show)
        },
        Orphan::Adopt { which, trial } => adopt(which, trial).await,
        Orphan::Purge { which, confirm, act } => purge(which, confirm, act).await,
    }
}

async fn adopt(which: &OneOrphan, trial: &Trial) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = trial;
    let client = Client::connect(&read.connect).await?;
    let kind = OperationKind::AdoptOrphan;
    let earlier = operation::earlier(&client, &[kind], change).await?;
    let rows = orphans(&client, which.agent.as_deref()).await?;
    let row = match pick(&rows, &which.orphan) {
        Ok(row) => row,
        Err(absent) => {
            let told = (change, &read.show);
            return earlier.stands_for(&client, &which.orphan, told, absent).await;
        },
    };
    let request = Request::AdoptOrphan { orphan: choice(row) };
    if *dry_run {
        client.check(request).await?;
        let text = match row.path.as_str() {
            "" => format!("would look whether the data is back of {}", row.shown()),
            _ => format!("would make a volume again of {}", row.shown()),
        };
        return output::planned(&text, &read.show);
    }
    let done = operation::submit(&client, request, change, &read.show).await?;
    match done.and_then(|record| record.volumes.first().copied()) {
        Some(id) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}

async fn purge(which: &OneOrphan, confirm: &TypedName, act: &Act) -> Result<(), Failure> {
    let Act { change, read } = act;
    let client = Client::connect(&read.connect).await?;
    let kind = OperationKind::PurgeOrphan;
    let earlier = operation::earlier(&client, &[kind], change).await?;
    let rows = orphans(&client, which.agent.as_deref()).await?;
    let row = match pick(&rows, &which.orphan) {
        Ok(row) => row,
        Err(absent) => {
            let told = (change, &read.show);
            return earlier.stands_for(&client, &which.orphan, told, absent).await;
        },
    };
    let request = Request::PurgeOrphan { orphan: choice(row) };
    if earlier.is_known() {
        return operation::submit_and_show(&client, request, change, &read.show).await;
    }
    // What cannot be done is said before anybody is asked to confirm it.
    client.admit(request.clone(), change, confirm.safety.dry_run).await?;
    let what = match row.path.as_str() {
        "" => "its record is forgotten; should its data be back, it goes to the trash",
        _ => "its data is deleted for good",
    };
    let impact = format!("{}\n  {what}", row.shown());
    if confirm.safety.dry_run {
        return output::planned(&format!("would purge:\n{impact}"), &read.show);
    }
    let name = row.volume.clone().unwrap_or_else(|| row.path.clone());
    type_name(&impact, &name, confirm)?;
    operation::submit_and_show(&client, request, change, &read.show).await
}
