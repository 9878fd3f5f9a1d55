//! Which places operators may add as disks while the agent runs.
//!
//! The agent is root and the master believes whoever reaches it, so a call must not turn any directory or device of the
//! machine into a disk. A configured disk is the word of who administers the machine and is not asked here. Invariant: what
//! passes lies strictly below an allowed directory, in name and in fact, and nobody but the agent's user can have put it there.

use crate::disk::{Declaration, DriverChoice};
use berth_model::declaration::DiskDeclaration;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::DiskSource;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The rule of one agent.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) below: Vec<PathBuf>,
    pub(super) work_dir: PathBuf,
}

impl Places {
    /// The declaration in the agent's words, provided that its place may be used.
    pub(super) fn admit(&self, wanted: &DiskDeclaration) -> Result<Declaration, Rejection> {
        let DiskDeclaration { source, name, driver, size } = wanted;
        let driver = match &**driver {
            "" => DriverChoice::Auto,
            text => text.parse()?,
        };
        match source {
            DiskSource::Root => {
                let text = "the ROOT disk is always there";
                return Err(Rejection::new(ErrorCode::InvalidArgument, text));
            },
            DiskSource::Path(root) | DiskSource::Mount(root) => {
                self.directory(Path::new(&**root))?;
            },
            DiskSource::Block(device) => self.device(Path::new(&**device))?,
        }
        Ok(Declaration { source: source.clone(), name: name.to_string(), driver, size: *size })
    }

    fn directory(&self, root: &Path) -> Result<(), Rejection> {
        self.allowed(root)?;
        let there = real(root)?;
        let held = self.below.iter().filter(|below| is_below(root, below));
        let resolved = held.filter_map(|below| below.canonicalize().ok());
        if !resolved.into_iter().any(|below| is_below(&there, &below)) {
            let text = format!("{} leads to {}", root.display(), there.display());
            return Err(refuse(format!("{text}, which is not below it in fact"))
                .remedy("name the directory itself, without symbolic links"));
        }
        if there.starts_with(&self.work_dir) || self.work_dir.starts_with(&there) {
            let text = format!("{} and the agent's work directory", root.display());
            return Err(refuse(format!("{text} lie within one another")));
        }
        let found = std::fs::metadata(&there).map_err(|error| unreadable(root, &error))?;
        if !found.is_dir() {
            return Err(refuse(format!("{} is not a directory", root.display()))
                .remedy("give a directory, or a device with --block"));
        }
        let own = rustix::process::geteuid().as_raw();
        if found.uid() != own || found.mode() & 0o022 != 0 {
            let text = format!(
                "{} belongs to user {} and has mode {:o}",
                root.display(),
                found.uid(),
                found.mode() & 0o7777
            );
            return Err(refuse(format!("{text}: others can write to it")).remedy(format!(
                "make it user {own}'s and writable for nobody else (chown {own} {0}; chmod go-w {0})",
                root.display()
            )));
        }
        Ok(())
    }

    fn device(&self, device: &Path) -> Result<(), Rejection> {
        self.allowed(device)?;
        // Names such as /dev/disk/by-id/… are links to the device.
        let there = real(device)?;
        if there.starts_with("/dev") {
            return Ok(());
        }
        let text = format!("{} leads to {}", device.display(), there.display());
        Err(refuse(format!("{text}, which is not below /dev")))
    }

    fn allowed(&self, place: &Path) -> Result<(), Rejection> {
        if self.below.iter().any(|below| is_below(place, below)) {
            return Ok(());
        }
        let shown = place.display();
        if self.below.iter().any(|below| place == below) {
            let text = format!("{shown} is not taken: disks are added below it, it is none itself");
            return Err(refuse(text).remedy(format!("make a directory in it, such as {shown}/d1")));
        }
        let all: Vec<String> = self.below.iter().map(|below| below.display().to_string()).collect();
        let text = if all.is_empty() {
            format!("{shown} is not taken: this agent lets nobody add disks")
        } else {
            format!("{shown} is not taken: this agent lets disks be added below {}", all.join(", "))
        };
        Err(refuse(text).remedy(
            "choose a place there, or have the machine's administrator set disk_add_below or declare the disk in the agent's configuration",
        ))
    }
}

fn is_below(place: &Path, above: &Path) -> bool {
    place.starts_with(above) && place != above
}

fn real(place: &Path) -> Result<PathBuf, Rejection> {
    place.canonicalize().map_err(|error| unreadable(place, &error))
}

fn unreadable(place: &Path, error: &std::io::Error) -> Rejection {
    refuse(format!("{} cannot be used: {error}", place.display()))
        .remedy("make or mount it on the agent's machine first")
}

fn refuse(text: String) -> Rejection {
    Rejection::new(ErrorCode::InvalidArgument, text).field("disk.source.root")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Arc;

    #[test]
    fn a_place_is_below_an_allowed_directory_in_name_and_in_fact() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        for made in ["srv/d1", "srv/open", "srv/work/disk", "elsewhere/d"] {
            std::fs::create_dir_all(base.join(made)).unwrap();
        }
        for made in ["srv", "srv/d1", "srv/work", "elsewhere/d"] {
            std::fs::set_permissions(base.join(made), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let open = PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(base.join("srv/open"), open).unwrap();
        std::fs::write(base.join("srv/file"), "").unwrap();
        symlink(base.join("elsewhere/d"), base.join("srv/out")).unwrap();
        symlink(base.join("srv/d1"), base.join("srv/inside")).unwrap();
        let places = Places {
            below: vec![base.join("srv"), "/dev".into()],
            work_dir: base.join("srv/work"),
        };
        let path = |name: &str| DiskSource::Path(Arc::from(base.join(name).to_str().unwrap()));
        let uid = rustix::process::geteuid().as_raw();
        let mut wrong = Vec::new();
        for (source, wanted) in [
            (path("srv/d1"), Ok(())),
            (path("srv/inside"), Ok(())),
            (path("srv"), Err("BASE/srv is not taken: disks are added below it, it is none itself".to_owned())),
            (path("srvice/d1"), Err("BASE/srvice/d1 is not taken: this agent lets disks be added below BASE/srv, /dev".to_owned())),
            (path("srv/none"), Err("BASE/srv/none cannot be used: No such file or directory (os error 2)".to_owned())),
            (path("srv/out"), Err("BASE/srv/out leads to BASE/elsewhere/d, which is not below it in fact".to_owned())),
            (path("srv/work/disk"), Err("BASE/srv/work/disk and the agent's work directory lie within one another".to_owned())),
            (path("srv/open"), Err(format!("BASE/srv/open belongs to user {uid} and has mode 777: others can write to it"))),
            (path("srv/file"), Err("BASE/srv/file is not a directory".to_owned())),
            (DiskSource::Block(Arc::from("/dev/null")), Ok(())),
            (DiskSource::Block(Arc::from("/etc/passwd")), Err("/etc/passwd is not taken: this agent lets disks be added below BASE/srv, /dev".to_owned())),
            (DiskSource::Root, Err("the ROOT disk is always there".to_owned())),
        ] {
            let wanted_disk = DiskDeclaration {
                source: source.clone(),
                name: Arc::from("d"),
                driver: Arc::from(""),
                size: None,
            };
            let found = places.admit(&wanted_disk).map(drop).map_err(|refused| {
                refused.message.replace(base.to_str().unwrap(), "BASE")
            });
            if found != wanted {
                wrong.push((source, found));
            }
        }
        assert_eq!(wrong, []);
        let nowhere = Places { below: vec![], ..places };
        let block = DiskDeclaration {
            source: DiskSource::Block(Arc::from("/dev/null")),
            name: Arc::from("d"),
            driver: Arc::from(""),
            size: None,
        };
        assert_eq!(
            nowhere.admit(&block).unwrap_err().message,
            "/dev/null is not taken: this agent lets nobody add disks"
        );
    }
}
