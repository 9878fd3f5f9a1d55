//! Where volumes may be mounted in a container: rules that need no look at the host.
//!
//! A place that passes is still checked against the host when it is mounted.

use super::record::Mounted;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::check_container_path;
use std::path::{Path, PathBuf};

/// Checks the places of one container's volumes.
///
/// # Errors
/// `INVALID_PATH`, naming the volume.
pub(crate) fn check(mounts: &[Mounted], runs: &Path, sandbox: &Path) -> Result<(), Rejection> {
    let mut taken: Vec<(PathBuf, &Mounted)> = Vec::new();
    for mount in mounts {
        let refuse = |why: String, remedy: &str| {
            Err(Rejection::new(ErrorCode::InvalidPath, why)
                .remedy(remedy)
                .field("task.resources.disk.mount.container_path"))
        };
        if let Err(error) = check_container_path(&mount.container_path) {
            return refuse(
                format!("volume {} cannot be mounted: {error}", mount.volume),
                "give a path such as data or /var/lib/mysql",
            );
        }
        let place = sandbox.join(&mount.container_path);
        if mount.container_path.starts_with('/')
            && (runs.starts_with(&place) || place.starts_with(runs))
        {
            return refuse(
                format!(
                    "volume {} cannot be mounted at {}: the agent's own files are there",
                    mount.volume, mount.container_path
                ),
                "give another path, or one relative to the sandbox",
            );
        }
        if let Some((_, other)) =
            taken.iter().find(|(other, _)| place.starts_with(other) || other.starts_with(&place))
        {
            return refuse(
                format!(
                    "volumes {} and {} would be mounted one inside the other, at {} and {}",
                    other.volume, mount.volume, other.container_path, mount.container_path
                ),
                "give each volume a place of its own",
            );
        }
        taken.push((place, mount));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(paths: &[&str]) -> Option<String> {
        let mounts: Vec<Mounted> = paths
            .iter()
            .enumerate()
            .map(|(number, path)| Mounted {
                volume: format!("v{number}"),
                container_path: (*path).to_owned(),
                read_only: false,
            })
            .collect();
        let runs = Path::new("/srv/agent/runs");
        check(&mounts, runs, &runs.join("c/sandbox"))
            .err()
            .map(|r| format!("{} {}", r.code, r.message))
    }

    #[test]
    fn places_are_apart_and_outside_of_the_agents_files() {
        assert_eq!(refusal(&["data", "a/b/c", "a/b/d", "/var/lib/mysql", "/data"]), None);
        assert_eq!(
            refusal(&["data", "data/inner"]).as_deref(),
            Some(
                "INVALID_PATH volumes v0 and v1 would be mounted one inside the other, at data and data/inner"
            )
        );
        assert_eq!(
            refusal(&["/x", "/x"]).as_deref(),
            Some(
                "INVALID_PATH volumes v0 and v1 would be mounted one inside the other, at /x and /x"
            )
        );
        for path in ["/srv", "/srv/agent/runs", "/srv/agent/runs/c/sandbox/data"] {
            assert_eq!(
                refusal(&[path]),
                Some(format!(
                    "INVALID_PATH volume v0 cannot be mounted at {path}: the agent's own files are there"
                ))
            );
        }
        assert_eq!(
            refusal(&["../x"]).as_deref(),
            Some(
                "INVALID_PATH volume v0 cannot be mounted: container path \"../x\" has the part \"..\": write it \
                 without empty, . or .. parts"
            )
        );
    }
}
