//! Agents and their disks.

use super::field::{self, Choice};
use super::resource::{sum, sum_to_wire};
use super::{At, Wire, wipe};
use crate::v1;
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::error::Rejection;
use berth_model::units::Bytes;
use berth_model::volume::Enforcement;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The number of a medium; unknown is what is not said.
pub(super) const fn media_number(media: Media) -> i32 {
    match media {
        Media::Unknown => v1::Media::Unspecified as i32,
        Media::Hdd => v1::Media::Hdd as i32,
        Media::Ssd => v1::Media::Ssd as i32,
        Media::Nvme => v1::Media::Nvme as i32,
    }
}

/// The medium of a number; a later release's medium is unknown to this one, and no reason to refuse the disk.
pub(super) fn media_of(number: i32) -> Media {
    match v1::Media::try_from(number) {
        Ok(v1::Media::Hdd) => Media::Hdd,
        Ok(v1::Media::Ssd) => Media::Ssd,
        Ok(v1::Media::Nvme) => Media::Nvme,
        Ok(v1::Media::Unspecified) | Err(prost::UnknownEnumValue(_)) => Media::Unknown,
    }
}

impl Wire for Disk {
    type Message = v1::Disk;

    fn to_wire(&self) -> v1::Disk {
        let Self {
            id,
            name,
            source,
            root,
            driver,
            driver_reason,
            enforcement,
            size,
            free,
            health,
            media,
            orphans,
            no_snapshots,
            added,
            wipes,
            no_encryption,
        } = self;
        v1::Disk {
            disk_id: id.to_string(),
            name: name.to_string(),
            source: Some(source.to_wire()),
            root: root.to_string(),
            driver: driver.to_string(),
            driver_reason: driver_reason.to_string(),
            enforcement: enforcement.number(),
            size_bytes: size.get(),
            free_bytes: free.get(),
            faulty: match health {
                DiskHealth::Ok => None,
                DiskHealth::Faulty(why) => Some(why.clone()),
            },
            media: media_number(*media),
            orphans: field::messages(orphans),
            no_snapshots: no_snapshots
                .iter()
                .map(|(driver, why)| (driver.to_string(), why.clone()))
                .collect(),
            added: *added,
            wipes: wipe::abilities_to_wire(wipes),
            no_encryption: no_encryption.as_deref().map(str::to_owned),
        }
    }

    fn from_wire(message: v1::Disk, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Disk {
            disk_id,
            name,
            source,
            root,
            driver,
            driver_reason,
            enforcement,
            size_bytes,
            free_bytes,
            faulty,
            media,
            orphans,
            no_snapshots,
            added,
            wipes,
            no_encryption,
        } = message;
        Ok(Self {
            id: field::id(&disk_id, &at.field("disk_id"))?,
            name: field::arc(name, &at.field("name"))?,
            source: field::required(source, &at.field("source"))?,
            root: field::arc(root, &at.field("root"))?,
            driver: Arc::from(driver),
            driver_reason: Arc::from(driver_reason),
            enforcement: Enforcement::read(enforcement, &at.field("enforcement"))?,
            size: Bytes::new(size_bytes),
            free: Bytes::new(free_bytes),
            health: faulty.map_or(DiskHealth::Ok, DiskHealth::Faulty),
            media: media_of(media),
            orphans: field::list(orphans, &at.field("orphans"))?,
            no_snapshots: no_snapshots
                .into_iter()
                .map(|(driver, why)| (Arc::from(driver), why))
                .collect(),
            added,
            wipes: wipe::abilities(wipes, &at.field("wipes")),
            no_encryption: no_encryption.map(Arc::from),
        })
    }
}

impl Wire for AgentInfo {
    type Message = v1::AgentInfo;

    fn to_wire(&self) -> v1::AgentInfo {
        let Self { id, hostname, attributes, declared, disks, limitations, version } = self;
        v1::AgentInfo {
            agent_id: id.to_string(),
            hostname: hostname.to_string(),
            attributes: BTreeMap::clone(attributes),
            declared: sum_to_wire(declared),
            disks: field::messages(disks),
            limitations: limitations.clone(),
            version: version.to_string(),
        }
    }

    fn from_wire(message: v1::AgentInfo, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::AgentInfo { agent_id, hostname, attributes, declared, disks, limitations, version } =
            message;
        Ok(Self {
            id: field::id(&agent_id, &at.field("agent_id"))?,
            hostname: field::arc(hostname, &at.field("hostname"))?,
            attributes: Arc::new(field::map(attributes, &at.field("attributes"))?),
            declared: sum(declared, &at.field("declared"))?,
            disks: field::list(disks, &at.field("disks"))?,
            limitations,
            version: Arc::from(version),
        })
    }
}
