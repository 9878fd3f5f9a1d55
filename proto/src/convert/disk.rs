//! What operators say of disks, and profiles.

use super::agent::{media_number, media_of};
use super::field;
use super::{At, Wire};
use crate::v1;
use crate::v1::submit_request as submit;
use berth_model::agent::Media;
use berth_model::disk::{
    Cordon, DiskProfile, DiskRecord, DiskRequest, HealthWish, ProfileRequest, TextError,
    check_label_key, check_labels, check_reason,
};
use berth_model::error::Rejection;
use berth_model::units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

fn broken(at: &At<'_>, error: &TextError) -> Rejection {
    at.invalid(error, "write a shorter or plainer text")
}

fn labels(
    found: BTreeMap<String, String>,
    at: &At<'_>,
) -> Result<BTreeMap<String, String>, Rejection> {
    check_labels(&found).map_err(|e| broken(at, &e))?;
    Ok(found)
}

fn reason(text: String, at: &At<'_>) -> Result<String, Rejection> {
    check_reason(&text).map_err(|e| broken(at, &e))?;
    Ok(text)
}

impl Wire for Cordon {
    type Message = v1::Cordon;

    fn to_wire(&self) -> v1::Cordon {
        let Self { reason, since } = self;
        v1::Cordon { reason: reason.clone(), since_ms: since.ms() }
    }

    fn from_wire(message: v1::Cordon, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Cordon { reason: text, since_ms } = message;
        let since = Timestamp::from_ms(since_ms);
        Ok(Self { reason: reason(text, &at.field("reason"))?, since })
    }
}

impl Wire for DiskRecord {
    type Message = v1::DiskRecord;

    fn to_wire(&self) -> v1::DiskRecord {
        let Self { disk, agent, cordon, labels } = self;
        v1::DiskRecord {
            disk_id: disk.to_string(),
            agent_id: agent.to_string(),
            cordon: cordon.as_ref().map(Wire::to_wire),
            labels: labels.clone(),
        }
    }

    fn from_wire(message: v1::DiskRecord, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskRecord { disk_id, agent_id, cordon, labels: found } = message;
        Ok(Self {
            disk: field::id(&disk_id, &at.field("disk_id"))?,
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            cordon: field::optional(cordon, &at.field("cordon"))?,
            labels: labels(found, &at.field("labels"))?,
        })
    }
}

impl Wire for DiskProfile {
    type Message = v1::DiskProfile;

    fn to_wire(&self) -> v1::DiskProfile {
        let Self { name, media, size_min, size_max, labels, health } = self;
        v1::DiskProfile {
            name: name.to_string(),
            media: media.iter().map(|media| media_number(*media)).collect(),
            size_min_bytes: size_min.map(Bytes::get),
            size_max_bytes: size_max.map(Bytes::get),
            labels: labels.clone(),
            any_health: match health {
                HealthWish::Ok => false,
                HealthWish::Any => true,
            },
        }
    }

    fn from_wire(message: v1::DiskProfile, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskProfile {
            name,
            media: numbers,
            size_min_bytes,
            size_max_bytes,
            labels: found,
            any_health,
        } = message;
        if let (Some(least), Some(most)) = (size_min_bytes, size_max_bytes)
            && least > most
        {
            return Err(at.field("size_min_bytes").invalid(
                "the least size is above the largest, so no disk can satisfy the profile",
                "give a range that begins before it ends",
            ));
        }
        Ok(Self {
            name: field::id(&name, &at.field("name"))?,
            media: media(&numbers, &at.field("media"))?,
            size_min: size_min_bytes.map(Bytes::new),
            size_max: size_max_bytes.map(Bytes::new),
            labels: labels(found, &at.field("labels"))?,
            health: if any_health { HealthWish::Any } else { HealthWish::Ok },
        })
    }
}

/// Nobody can ask for what this release does not know.
fn media(numbers: &[i32], at: &At<'_>) -> Result<BTreeSet<Media>, Rejection> {
    field::count(numbers.len(), at)?;
    let mut found = BTreeSet::new();
    for (index, number) in numbers.iter().enumerate() {
        let media = media_of(*number);
        if media_number(media) != *number {
            let problem = format!("{number} is not the number of a medium");
            let remedy = "use one of MEDIA_HDD, MEDIA_SSD, MEDIA_NVME, or MEDIA_UNSPECIFIED for disks whose medium is unknown";
            return Err(at.index(index).invalid(problem, remedy));
        }
        found.insert(media);
    }
    Ok(found)
}

pub(super) fn disk_request_to_wire(request: &DiskRequest) -> submit::Request {
    match request {
        DiskRequest::Cordon { disk, reason } => submit::Request::CordonDisk(submit::CordonDisk {
            disk_id: disk.to_string(),
            reason: reason.clone(),
        }),
        DiskRequest::Uncordon { disk, reason } => {
            submit::Request::UncordonDisk(submit::UncordonDisk {
                disk_id: disk.to_string(),
                reason: reason.clone(),
            })
        },
        DiskRequest::Label { disk, set, remove } => submit::Request::LabelDisk(submit::LabelDisk {
            disk_id: disk.to_string(),
            set: set.clone(),
            remove: remove.iter().cloned().collect(),
        }),
    }
}

pub(super) fn profile_request_to_wire(request: &ProfileRequest) -> submit::Request {
    match request {
        ProfileRequest::Create(profile) => submit::Request::CreateProfile(submit::CreateProfile {
            profile: Some(profile.to_wire()),
        }),
        ProfileRequest::Delete(name) => {
            submit::Request::DeleteProfile(submit::DeleteProfile { name: name.to_string() })
        },
    }
}

pub(super) fn cordon(message: submit::CordonDisk, at: &At<'_>) -> Result<DiskRequest, Rejection> {
    let submit::CordonDisk { disk_id, reason: text } = message;
    Ok(DiskRequest::Cordon {
        disk: field::id(&disk_id, &at.field("disk_id"))?,
        reason: reason(text, &at.field("reason"))?,
    })
}

pub(super) fn uncordon(
    message: submit::UncordonDisk,
    at: &At<'_>,
) -> Result<DiskRequest, Rejection> {
    let submit::UncordonDisk { disk_id, reason: text } = message;
    Ok(DiskRequest::Uncordon {
        disk: field::id(&disk_id, &at.field("disk_id"))?,
        reason: reason(text, &at.field("reason"))?,
    })
}

pub(super) fn label(message: submit::LabelDisk, at: &At<'_>) -> Result<DiskRequest, Rejection> {
    let submit::LabelDisk { disk_id, set, remove } = message;
    let set = labels(set, &at.field("set"))?;
    let removed_at = at.field("remove");
    field::count(remove.len(), &removed_at)?;
    let mut removed = BTreeSet::new();
    for (index, key) in remove.into_iter().enumerate() {
        let at = removed_at.index(index);
        check_label_key(&key).map_err(|e| broken(&at, &e))?;
        if set.contains_key(&key) {
            let problem = format!("label {key:?} is both set and removed");
            return Err(at.invalid(problem, "give each key once"));
        }
        removed.insert(key);
    }
    if set.is_empty() && removed.is_empty() {
        return Err(at.invalid("no label is named", "set or remove at least one"));
    }
    let disk = field::id(&disk_id, &at.field("disk_id"))?;
    Ok(DiskRequest::Label { disk, set, remove: removed })
}
