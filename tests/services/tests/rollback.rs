//! The roll back of a database as a test, on a btrfs of its own.

use berth_host_tests::host::{mount_new, run, with_private_mounts};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

#[test]
fn a_dropped_table_is_back_in_place_with_every_row_committed_before_the_snapshot() {
    if std::process::Command::new("mariadbd").arg("--version").output().is_err() {
        eprintln!("SKIPPED: mariadbd is not installed (make setup installs mariadb-server-core)");
        return;
    }
    with_private_mounts(&["mkfs.btrfs", "mount"], || {
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = base.path().join("cluster");
        mount_new("btrfs", 3072, &root);
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mariadb.yaml");
        let seen = berth_services_tests::roll_back(&root, &document);
        match seen {
            Ok(seen) => assert!(
                (seen.committed_before..=seen.committed_after + 1).contains(&seen.found),
                "{seen:?}"
            ),
            Err(error) => panic!("{error:#}"),
        }
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}
