//! The disks that an operator declares, each as a table of the file or as `key=value,…` on the command line.

use super::refuse;
use crate::disk::{Declaration, DriverChoice};
use berth_model::error::Rejection;
use berth_model::id::check_name;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// One disk, in the file as a table, on the command line as `key=value,…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskEntry {
    root: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    driver: Option<String>,
    size: Option<String>,
}

pub(super) fn parse_disk(text: &str) -> Result<DiskEntry, Rejection> {
    let mut entry = DiskEntry::default();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| {
            refuse("--disk", format!("{part:?} in {text:?} is not key=value"))
                .remedy("write for example --disk root=/srv/d1,name=d1,driver=auto,size=100GiB")
        })?;
        let slot = match key.trim() {
            "root" => &mut entry.root,
            "name" => &mut entry.name,
            "type" => &mut entry.kind,
            "driver" => &mut entry.driver,
            "size" => &mut entry.size,
            other => {
                return Err(refuse("--disk", format!("{text:?} has the unknown key {other:?}"))
                    .remedy("the keys are root, name, type, driver and size"));
            },
        };
        if slot.replace(value.trim().to_owned()).is_some() {
            return Err(refuse("--disk", format!("{text:?} gives {} twice", key.trim())));
        }
    }
    Ok(entry)
}

pub(super) fn declaration(entry: DiskEntry) -> Result<Declaration, Rejection> {
    let DiskEntry { root, name, kind, driver, size } = entry;
    let shown = root.as_deref().or(name.as_deref()).unwrap_or("without root").to_owned();
    let source = match kind.as_deref() {
        None | Some("path") => {
            let root = root.filter(|root| Path::new(root).is_absolute()).ok_or_else(|| {
                refuse("--disk", format!("disk {shown} has no absolute root directory"))
                    .remedy("write for example --disk root=/srv/d1")
            })?;
            DiskSource::Path(Arc::from(root.trim_end_matches('/')))
        },
        Some("root") if root.is_none() => DiskSource::Root,
        Some("root") => {
            return Err(refuse("--disk", format!("disk {shown}: the ROOT disk has no root"))
                .remedy("it lies in the work directory; leave root out, or write type=path"));
        },
        Some("mount") => {
            let root = root.filter(|root| Path::new(root).is_absolute()).ok_or_else(|| {
                refuse("--disk", format!("disk {shown} has no absolute mount point"))
                    .remedy("write for example --disk type=mount,root=/srv/d1")
            })?;
            DiskSource::Mount(Arc::from(root.trim_end_matches('/')))
        },
        Some("block") => {
            let device = root.filter(|root| Path::new(root).is_absolute()).ok_or_else(|| {
                refuse("--disk", format!("disk {shown} has no absolute path of a device"))
                    .remedy("write for example --disk type=block,root=/dev/disk/by-id/ID")
            })?;
            DiskSource::Block(Arc::from(device.as_str()))
        },
        Some(other) => {
            return Err(refuse("--disk", format!("disk {shown} has the unknown type {other:?}"))
                .remedy("the types of this release are path, mount, block and root"));
        },
    };
    let name = match (name, &source) {
        (Some(name), _) => name,
        (None, DiskSource::Root) => "root".to_owned(),
        (None, DiskSource::Path(root) | DiskSource::Mount(root) | DiskSource::Block(root)) => {
            root.rsplit('/').find(|part| !part.is_empty()).unwrap_or("disk").to_owned()
        },
    };
    check_name("disk name", &name).map_err(|e| refuse("--disk", e.to_string()))?;
    let driver: DriverChoice = match driver {
        Some(text) => text.parse().map_err(|e: Rejection| e.field("--disk"))?,
        None => DriverChoice::Auto,
    };
    if !source.is_divisible() && driver != DriverChoice::Auto {
        let kind = if matches!(source, DiskSource::Block(_)) { "block" } else { "mount" };
        return Err(refuse(
            "--disk",
            format!("disk {name} of type {kind} has no choice of drivers"),
        )
        .remedy("leave driver out: its one volume is all of it"));
    }
    let size = size.map(|text| disk_size(&name, &text)).transpose()?;
    Ok(Declaration { source, name, driver, size })
}

fn disk_size(name: &str, text: &str) -> Result<Bytes, Rejection> {
    let wrong = |e: &dyn std::fmt::Display| refuse("--disk", format!("disk {name}: {e}"));
    let size: Bytes = text.parse().map_err(|e| wrong(&e))?;
    size.to_scalar().map_err(|e| wrong(&e))?;
    Ok(size)
}

pub(super) fn check_names(disks: &[Declaration]) -> Result<(), Rejection> {
    for (index, disk) in disks.iter().enumerate() {
        let earlier = disks.iter().take(index);
        if earlier.clone().any(|other| other.source == disk.source) {
            return Err(refuse("--disk", format!("disk {} is declared twice", disk.source)));
        }
        if earlier.clone().any(|other| other.name == disk.name) {
            return Err(refuse("--disk", format!("two disks are named {}", disk.name))
                .remedy("give each its own name=…"));
        }
        if disk.name == "root" && disk.source != DiskSource::Root {
            return Err(refuse(
                "--disk",
                "the name root belongs to the disk of the work directory",
            )
            .remedy("give the disk another name=…"));
        }
    }
    Ok(())
}
