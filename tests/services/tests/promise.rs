//! The demo as a test.

use std::path::Path;

#[test]
fn the_database_survives_every_kill_in_its_place() {
    if std::process::Command::new("mariadbd").arg("--version").output().is_err() {
        eprintln!("SKIPPED: mariadbd is not installed (make setup installs mariadb-server-core)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mariadb.yaml");
    let mut told = Vec::new();
    let outcome =
        berth_services_tests::demo(dir.path(), &document, &mut |text| told.push(text.to_owned()));
    match outcome {
        Ok(report) => assert_eq!(report.steps.len(), 5, "{told:#?}"),
        Err(error) => panic!("{error:#}\ntold before: {told:#?}"),
    }
}
