//! What an agent declares about its machine: as configured, and found out where nothing was said.

use crate::config::AgentConfig;
use crate::disk::Declaration;
use berth_model::agent::Disk;
use berth_model::declaration::DiskDeclaration;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::{DiskSource, Name, Range, Ranges, Resource, Resources, Value};
use berth_model::units::{Bytes, Scalar};
use std::collections::BTreeMap;

/// The ports a machine declares when nothing is said, as in Mesos.
const PORTS: Range = Range { begin: 31_000, end: 32_000 };

/// The disks to open: as configured, with the size that the resources give to ROOT.
pub(super) fn disks(config: &AgentConfig) -> Result<Vec<Declaration>, Rejection> {
    let mut disks = config.disks.clone();
    let total = config.resources.total(&Name::Disk);
    if total.is_zero() {
        return Ok(disks);
    }
    let size = Bytes::from_scalar(total);
    match disks.iter_mut().find(|disk| disk.source == DiskSource::Root) {
        Some(root) if root.size.is_some_and(|other| other != size) => Err(Rejection::new(
            ErrorCode::InvalidArgument,
            format!(
                "the ROOT disk has two sizes: {size} in the resources, {} as a disk",
                root.size.unwrap_or_default()
            ),
        )
        .field("--disk")
        .remedy("give its size in one place only")),
        Some(root) => {
            root.size = Some(size);
            Ok(disks)
        },
        None => {
            disks.insert(0, Declaration { size: Some(size), ..Declaration::root() });
            Ok(disks)
        },
    }
}

/// The disks of the configuration, then those that operators added while the agent ran, as far as the two do not speak of the
/// same place; and what is to be told where they do.
pub(super) fn with_added(
    mut disks: Vec<Declaration>,
    added: &BTreeMap<DiskSource, DiskDeclaration>,
) -> (Vec<Declaration>, Vec<String>) {
    let mut conflicts = Vec::new();
    for (source, wanted) in added {
        let DiskDeclaration { name, driver, size, source: _ } = wanted;
        if let Some(own) = disks.iter().find(|disk| disk.source == *source) {
            conflicts.push(format!(
                "disk {name} ({source}) was added while the agent ran and is in its configuration too, as {}: the configuration counts",
                own.name
            ));
            continue;
        }
        if disks.iter().any(|disk| *disk.name == **name) {
            conflicts.push(format!(
                "disk {name} ({source}) was added while the agent ran, and the configuration gives its name to another: it is withheld until one of them has another name"
            ));
        }
        let driver = driver.parse().unwrap_or_default();
        disks.push(Declaration {
            source: source.clone(),
            name: name.to_string(),
            driver,
            size: *size,
        });
    }
    (disks, conflicts)
}

/// Everything declared, before any operation.
pub(super) fn resources(config: &AgentConfig, disks: &[Disk]) -> Result<Resources, Rejection> {
    let wrong = |e: &dyn std::fmt::Display| {
        Rejection::new(ErrorCode::InvalidResources, e.to_string()).field("--resources")
    };
    let mut sum = config.resources.clone();
    let mut add = |resource: Resource| sum.add(&resource).map_err(|e| wrong(&e));
    let named = |name: &Name| !config.resources.total(name).is_zero();
    if !named(&Name::Cpus) {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let cpus = Scalar::from_units(cpus as u64).map_err(|e| wrong(&e))?;
        add(Resource::scalar(Name::Cpus, cpus))?;
    }
    if !named(&Name::Mem) {
        let mem = spare_memory()?.to_scalar().map_err(|e| wrong(&e))?;
        add(Resource::scalar(Name::Mem, mem))?;
    }
    if !named(&Name::Ports) {
        let ports = Ranges::new(vec![PORTS]).map_err(|e| wrong(&e))?;
        add(Resource::of(Name::Ports, Value::Ranges(ports)))?;
    }
    for disk in disks {
        let given = disk.source == DiskSource::Root && named(&Name::Disk);
        // A disk of which nothing is known, because it could not be opened, declares nothing.
        if !given && let Ok(size) = disk.size.to_scalar() {
            add(Resource::disk(disk.source.clone(), size))?;
        }
    }
    Ok(sum)
}

/// Physical memory less what the machine itself needs: 1 GiB, or half of it on a small machine, as in Mesos.
fn spare_memory() -> Result<Bytes, Rejection> {
    let mut system = sysinfo::System::new().map_err(|e| {
        Rejection::new(ErrorCode::InvalidResources, format!("memory cannot be measured: {e}"))
            .field("--resources")
            .remedy("say how much there is, such as mem:2GiB")
    })?;
    system.refresh_memory();
    let total = system.total_memory();
    let limit = system.cgroup_limits().map_or(total, |limits| limits.total_memory.min(total));
    let gib = 1 << 30;
    let spare = if limit > 2 * gib { limit - gib } else { limit / 2 };
    Ok(Bytes::from_mib((spare >> 20).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;
    use berth_model::agent::DiskHealth;
    use berth_model::id::DiskId;
    use berth_model::resources::parse_resources;
    use berth_model::volume::Enforcement;
    use std::sync::Arc;

    fn config(resources: &str, disks: &[&str]) -> AgentConfig {
        let flags = Flags {
            master: Some("m:1".to_owned()),
            work_dir: Some("/w".into()),
            resources: Some(resources.to_owned()),
            disks: disks.iter().map(|text| (*text).to_owned()).collect(),
            ..Flags::default()
        };
        AgentConfig::load(None, flags).unwrap()
    }

    fn disk(source: DiskSource, mib: u64) -> Disk {
        Disk {
            id: DiskId::from_u128(1),
            name: Arc::from("d"),
            source,
            root: Arc::from("/d"),
            driver: Arc::from("directory"),
            driver_reason: Arc::from(""),
            enforcement: Enforcement::None,
            size: Bytes::from_mib(mib),
            free: Bytes::from_mib(mib),
            health: DiskHealth::Ok,
            media: berth_model::agent::Media::Unknown,
            orphans: Vec::new(),
            no_snapshots: BTreeMap::new(),
            wipes: Vec::new(),
            added: false,
            no_encryption: None,
        }
    }

    #[test]
    fn what_is_given_is_declared_and_the_rest_is_found() {
        let given = config("cpus:2;mem:2GiB;disk:10GiB;gpus:1", &[]);
        let path = DiskSource::Path(Arc::from("/srv/d1"));
        let mut wanted =
            parse_resources("cpus:2;mem:2048;disk:10240;gpus:1;ports:[31000-32000]").unwrap();
        wanted.add(&Resource::disk(path.clone(), Scalar::from_units(500).unwrap())).unwrap();
        // The file system's own size does not count when one was given; an unusable disk declares nothing.
        let disks = [
            disk(DiskSource::Root, 77),
            disk(path, 500),
            disk(DiskSource::Path(Arc::from("/srv/d2")), 0),
        ];
        assert_eq!(resources(&given, &disks), Ok(wanted));
        let found = resources(&config("", &[]), &disks[..1]).unwrap();
        assert_eq!(found.total(&Name::Disk), Scalar::from_units(77).unwrap());
        for name in [Name::Cpus, Name::Mem, Name::Ports] {
            assert!(found.total(&name).is_positive(), "{name}");
        }
    }

    #[test]
    fn the_configuration_counts_where_an_added_disk_speaks_of_the_same_place() {
        let added = |name: &str, root: &str, driver: &str| {
            let source = DiskSource::Path(Arc::from(root));
            let disk = DiskDeclaration {
                source: source.clone(),
                name: Arc::from(name),
                driver: Arc::from(driver),
                size: None,
            };
            (source, disk)
        };
        let own = config("", &["root=/srv/d1,name=d1", "root=/srv/d2,name=d2"]).disks;
        let all = BTreeMap::from([
            added("d9", "/srv/d1", ""),
            added("d2", "/srv/d3", "btrfs"),
            added("d4", "/srv/d4", ""),
        ]);
        let (disks, conflicts) = with_added(own.clone(), &all);
        let declared = |name: &str, root: &str, driver| Declaration {
            source: DiskSource::Path(Arc::from(root)),
            name: name.to_owned(),
            driver,
            size: None,
        };
        use crate::disk::DriverChoice::{Auto, Btrfs};
        let mut wanted = own;
        wanted.extend([declared("d2", "/srv/d3", Btrfs), declared("d4", "/srv/d4", Auto)]);
        assert_eq!(disks, wanted);
        assert_eq!(
            conflicts,
            [
                "disk d9 (PATH:/srv/d1) was added while the agent ran and is in its configuration too, as d1: the configuration counts",
                "disk d2 (PATH:/srv/d3) was added while the agent ran, and the configuration gives its name to another: it is withheld until one of them has another name"
            ]
        );
    }

    #[test]
    fn the_size_of_the_root_disk_is_given_once() {
        let size = |config: &AgentConfig| disks(config).map(|d| d.first().and_then(|d| d.size));
        assert_eq!(size(&config("disk:1GiB", &[])), Ok(Some(Bytes::from_mib(1024))));
        assert_eq!(
            size(&config("disk:1GiB", &["type=root,driver=directory"])),
            Ok(Some(Bytes::from_mib(1024)))
        );
        assert_eq!(size(&config("cpus:1", &[])), Ok(None));
        let both = size(&config("disk:1GiB", &["type=root,size=2GiB"])).unwrap_err();
        assert_eq!(
            both.message,
            "the ROOT disk has two sizes: 1 GiB in the resources, 2 GiB as a disk"
        );
    }
}
