//! Which directories of the machine an agent reads for imports: those below the ones in its settings, and never its own.
//!
//! A path is opened name by name from the allowed directory on, across no link and no mount: what is mounted below an
//! allowed directory is allowed by an entry of its own. Invariant: without a setting nothing is read.

use crate::disk::fs::copying::EntryKind;
use crate::disk::fs::real::Host;
use crate::disk::fs::{self, FileSystem, Node};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::transfer::check_directory;
use rustix::io::Errno;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The directories that may be imported.
#[derive(Clone, Debug)]
pub struct Sources {
    files: Arc<dyn FileSystem>,
    is_host: bool,
    allowed: Vec<PathBuf>,
    /// The agent's own: its work directory and its disks.
    own: Vec<PathBuf>,
}

fn refused(text: String) -> Rejection {
    Rejection::new(ErrorCode::ImportNotAllowed, text)
}

impl Sources {
    /// Those below `allowed` on this machine, without the agent's `own`.
    #[must_use]
    pub fn host(allowed: Vec<PathBuf>, own: Vec<PathBuf>) -> Self {
        Self { files: Arc::new(Host), is_host: true, allowed, own }
    }

    /// Those below `allowed` on another file system, for tests.
    #[must_use]
    pub fn on(files: Arc<dyn FileSystem>, allowed: Vec<PathBuf>, own: Vec<PathBuf>) -> Self {
        Self { files, is_host: false, allowed, own }
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::host(Vec::new(), Vec::new())
    }

    pub(super) fn is_host(&self) -> bool {
        self.is_host
    }

    /// Without links, as far as there is something.
    fn real(&self, path: &Path) -> PathBuf {
        if !self.is_host {
            return path.to_owned();
        }
        std::fs::canonicalize(path).unwrap_or_else(|_absent| path.to_owned())
    }

    /// Opens a directory for reading; answers with where it really is.
    ///
    /// # Errors
    /// It must not be read, or it cannot.
    pub fn open(&self, path: &str) -> Result<(Node, PathBuf), Rejection> {
        check_directory(path)?;
        let wanted = Path::new(path);
        let below = |allowed: &&PathBuf| wanted.starts_with(allowed);
        let Some(allowed) =
            self.allowed.iter().filter(below).max_by_key(|path| path.as_os_str().len())
        else {
            return Err(refused(format!("{path} is not below a directory that this agent lets be imported"))
                .remedy(
                    "name it, or a directory above it, in import_from of the agent's settings, then restart the agent",
                ));
        };
        let rest = wanted.strip_prefix(allowed).unwrap_or(wanted);
        let base = self.real(allowed);
        let place = if rest.as_os_str().is_empty() { base.clone() } else { base.join(rest) };
        for own in &self.own {
            let own = self.real(own);
            if place.starts_with(&own) || own.starts_with(&place) {
                let text = format!("{path} holds or is part of {}, the agent's own", own.display());
                return Err(refused(text).remedy("export or clone a volume instead"));
            }
        }
        let node = self.descend(&base, rest).map_err(|(at, errno)| cannot(path, &at, errno))?;
        Ok((node, place))
    }

    fn descend(&self, base: &Path, rest: &Path) -> Result<Node, (PathBuf, Errno)> {
        let mut at = base.to_owned();
        let mut node = fs::open(&*self.files, base).map_err(|errno| (at.clone(), errno))?;
        for part in rest.components() {
            let Component::Normal(name) = part else { return Err((at, Errno::INVAL)) };
            at.push(name);
            node = node.directory(name).map_err(|errno| {
                // The kernel says of a link only that it is no directory.
                let is_link = node.entry(Some(name)).is_ok_and(|e| e.kind == EntryKind::Link);
                (at.clone(), if is_link { Errno::LOOP } else { errno })
            })?;
        }
        Ok(node)
    }
}

fn cannot(path: &str, at: &Path, errno: Errno) -> Rejection {
    let at = at.display();
    match errno {
        Errno::NOENT => Rejection::new(ErrorCode::ImportRefused, format!("{at} is not there"))
            .remedy("name a directory that is on the agent's machine"),
        Errno::NOTDIR => Rejection::new(ErrorCode::ImportRefused, format!("{at} is no directory"))
            .remedy("name a directory"),
        Errno::LOOP => {
            refused(format!("{at} on the way to {path} is a symbolic link, which is not followed"))
                .remedy("name the directory by its own path")
        },
        Errno::XDEV => {
            refused(format!("{at} on the way to {path} is a mount point, which is not crossed"))
                .remedy("name it in import_from of the agent's settings, then restart the agent")
        },
        errno => Rejection::new(ErrorCode::ImportRefused, format!("opening {at} failed ({errno})"))
            .remedy("see that the agent can read it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_is_allowed_and_not_the_agents_own_is_opened() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        for path in ["srv/a/b", "srv/agent/disk/volumes", "etc/ssl"] {
            create_dir_all(base.join(path)).unwrap();
        }
        write(base.join("srv/file"), "").unwrap();
        symlink("../etc", base.join("srv/link")).unwrap();
        symlink("srv", base.join("alias")).unwrap();
        let allowed = vec![base.join("srv"), base.join("alias")];
        let sources = Sources::host(allowed, vec![base.join("srv/agent")]);
        let open = |path: &str| {
            let path = format!("{}/{path}", base.display());
            sources.open(&path).map(|(_node, at)| at).map_err(|refused| {
                let text = refused.message.replace(&format!("{}/", base.display()), "");
                (refused.code, text)
            })
        };
        assert_eq!(open("srv/a/b"), Ok(base.join("srv/a/b")));
        assert_eq!(open("alias/a"), Ok(base.join("srv/a")));
        let not = |text: &str| Err((ErrorCode::ImportNotAllowed, text.to_owned()));
        let no = |text: &str| Err((ErrorCode::ImportRefused, text.to_owned()));
        let outside = "is not below a directory that this agent lets be imported";
        assert_eq!(open("etc/ssl"), not(&format!("etc/ssl {outside}")));
        assert_eq!(open("srvx"), not(&format!("srvx {outside}")));
        let link = "on the way to srv/link/ssl is a symbolic link, which is not followed";
        assert_eq!(open("srv/link/ssl"), not(&format!("srv/link {link}")));
        for own in ["srv", "alias", "srv/agent", "srv/agent/disk/volumes", "alias/agent/disk"] {
            let text = format!("{own} holds or is part of srv/agent, the agent's own");
            assert_eq!(open(own), not(&text));
        }
        assert_eq!(open("srv/absent"), no("srv/absent is not there"));
        assert_eq!(open("srv/file"), no("srv/file is no directory"));
        assert_eq!(open("srv/a/../../etc").unwrap_err().0, ErrorCode::InvalidPath);
        let nothing = Sources::none().open("/srv").unwrap_err();
        assert_eq!(nothing.code, ErrorCode::ImportNotAllowed);
        assert!(nothing.remedy.contains("import_from"), "{nothing}");
    }
}
