//! Reservations of one role on one agent.

use crate::args::{Act, Reservation, ReservationCreate, Trial};
use crate::client::Client;
use crate::confirm::ask;
use crate::failure::Failure;
use crate::output::{self, note};
use crate::resolve::{Kind, find};
use crate::rows::ReservationRow;
use crate::verbs::list::find_agent;
use crate::verbs::operation;
use berth_model::agent::Disk;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::operation::OperationKind;
use berth_model::operator::Request;
use berth_model::reservation::Reservation as Level;
use berth_model::resources::{DiskInfo, DiskSource, Name, Resources, parse_resources};
use berth_model::view::{AgentView, ReservationView};

const DISK: Kind = Kind { noun: "disk", unknown: ErrorCode::UnknownDisk, list: "berth disk list" };
const RESERVATION: Kind = Kind {
    noun: "reservation",
    unknown: ErrorCode::UnknownReservation,
    list: "berth reservation list",
};

fn rows(reservations: &[ReservationView], agents: &[AgentView]) -> Vec<ReservationRow> {
    let host = |view: &ReservationView| {
        agents
            .iter()
            .find(|a| a.info.id == view.row.agent)
            .map_or_else(|| view.row.agent.to_string(), |a| a.info.hostname.to_string())
    };
    reservations.iter().map(|view| ReservationRow::new(view, &host(view))).collect()
}

pub(crate) async fn run(command: &Reservation) -> Result<(), Failure> {
    match command {
        Reservation::Create(create) => self::create(create).await,
        Reservation::List { of, read } => {
            let client = Client::connect(&read.connect).await?;
            let mut rows = rows(&client.reservations().await?, &client.agents().await?);
            rows.retain(|row| of.role.as_ref().is_none_or(|role| row.role == *role));
            rows.sort_by(|a, b| {
                (&a.role, &a.hostname, &a.resource).cmp(&(&b.role, &b.hostname, &b.resource))
            });
            output::list(&rows, &read.show)
        },
        Reservation::Release { reservation, confirm, act: Act { change, read } } => {
            let client = Client::connect(&read.connect).await?;
            let earlier = operation::earlier(&client, &[OperationKind::Unreserve], change).await?;
            let all = client.reservations().await?;
            let id = |r: &ReservationView| r.row.id.to_string();
            let view = match find(&RESERVATION, &all, reservation, id, |_| Vec::new()) {
                Ok(view) => view,
                Err(absent) => {
                    let told = (change, &read.show);
                    return earlier.stands_for(&client, reservation, told, absent).await;
                },
            };
            let request = Request::Release { reservation: view.row.id };
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            let row = rows(std::slice::from_ref(view), &client.agents().await?);
            for row in &row {
                note(&format!(
                    "reservation {} of {} on {}: {} {}, of which {} in volumes and {} in tasks",
                    row.id,
                    row.role,
                    row.hostname,
                    row.resource,
                    row.amount,
                    row.in_volumes,
                    row.in_tasks
                ));
            }
            if confirm.dry_run {
                client.check(request).await?;
                return output::planned("would give its unused part back", &read.show);
            }
            ask("its unused part goes back to everybody", confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
    }
}

async fn create(create: &ReservationCreate) -> Result<(), Failure> {
    let invalid = |message: String| {
        Failure::from(Rejection::new(ErrorCode::InvalidResources, message).field("resources"))
    };
    let plain = parse_resources(&create.resources).map_err(|e| invalid(e.to_string()))?;
    let Trial { dry_run, act: Act { change, read } } = &create.trial;
    let client = Client::connect(&read.connect).await?;
    let agents = client.agents().await?;
    let agent = find_agent(&agents, &create.agent)?;
    let source =
        create.disk.as_deref().map(|text| disk_source(&agent.info.disks, text)).transpose()?;
    let mut reserved = Resources::new();
    for mut resource in plain.iter() {
        if resource.name == Name::Disk && source.as_ref().is_some_and(|s| *s != DiskSource::Root) {
            let source = source.clone().unwrap_or_default();
            resource.disk = Some(DiskInfo { source, ..DiskInfo::default() });
        }
        let level = Level::dynamic(create.role.clone());
        let pushed = resource.push(level).map_err(|e| invalid(e.to_string()))?;
        reserved.add(&pushed).map_err(|e| invalid(e.to_string()))?;
    }
    let request = Request::Reserve { agent: agent.info.id, resources: reserved.clone() };
    if *dry_run {
        client.check(request).await?;
        let text = format!("would reserve {reserved} on agent {}", agent.info.hostname);
        return output::planned(&text, &read.show);
    }
    let done = operation::submit(&client, request, change, &read.show).await?;
    if done.is_none() {
        return Ok(());
    }
    // The rows it went into, with the ids that `release` takes; equal reservations add up in one row.
    let mut touched = client.reservations().await?;
    touched.retain(|view| {
        let row = &view.row;
        row.agent == agent.info.id
            && row.resource.stack.owner() == Some(&create.role)
            && reserved.iter().any(|r| {
                r.name == row.resource.name && r.disk_source() == row.resource.disk_source()
            })
    });
    output::list(&rows(&touched, &agents), &read.show)
}

/// What resources call the disk that `text` names among those of the agent.
fn disk_source(disks: &[Disk], text: &str) -> Result<DiskSource, Failure> {
    let names = |disk: &Disk| vec![disk.name.to_string(), disk.root.to_string()];
    let found = find(&DISK, disks, text, |disk| disk.id.to_string(), names)?;
    Ok(found.source.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::agent::{DiskHealth, Media};
    use berth_model::id::DiskId;
    use berth_model::units::Bytes;
    use berth_model::volume::Enforcement;
    use std::sync::Arc;

    fn disk(id: u128, name: &str) -> Disk {
        let root: Arc<str> = Arc::from(format!("/srv/{name}"));
        Disk {
            id: DiskId::from_u128(id),
            name: Arc::from(name),
            source: DiskSource::Path(Arc::clone(&root)),
            root,
            driver: Arc::from("directory"),
            driver_reason: Arc::from(""),
            enforcement: Enforcement::None,
            size: Bytes::from_mib(1),
            free: Bytes::from_mib(1),
            health: DiskHealth::Ok,
            media: Media::Unknown,
            orphans: Vec::new(),
            no_snapshots: std::collections::BTreeMap::new(),
            wipes: Vec::new(),
            added: false,
            no_encryption: None,
        }
    }

    #[test]
    fn a_beginning_that_fits_two_disks_reserves_on_neither() {
        let disks = [disk(0xabcd_0001 << 96, "d1"), disk(0xabcd_0002 << 96, "d2")];
        let look = |text: &str| {
            disk_source(&disks, text)
                .map(|source| source.to_string())
                .map_err(|failure| (failure.code, failure.error.code))
        };
        assert_eq!(look("d2"), Ok("PATH:/srv/d2".to_owned()));
        assert_eq!(look("/srv/d1"), Ok("PATH:/srv/d1".to_owned()));
        assert_eq!(look("abcd0002"), Ok("PATH:/srv/d2".to_owned()));
        assert_eq!(look("abcd"), Err((2, ErrorCode::AmbiguousId)));
        assert_eq!(look("d3"), Err((3, ErrorCode::UnknownDisk)));
    }
}
