//! Trees with something of every kind in them, and what they hold in lines that can be compared.

use crate::run;
use anyhow::ensure;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// Everything of a tree that a copy keeps, one line each; times of links and of the top's parents left out.
///
/// # Errors
/// It cannot be read.
pub fn listed(top: &Path) -> anyhow::Result<String> {
    let script = r#"cd "$1" && find . -mindepth 1 -printf '%p %y %m %U:%G %s %Ts %l\n' | sort
        find . -type f -exec sha256sum {} + | sort -k2
        find . -type f -links +1 -printf '%n %p\n' | sort
        getfattr -R -d -m '^user\.' . 2>/dev/null | sort"#;
    let listed = run(Path::new("/bin/sh"), &["-c", script, "sh", &top.display().to_string()], &[])?;
    // The directories' own lengths are the file system's business.
    let lines = listed.stdout.lines().map(|line| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if words.get(1) == Some(&"d") {
            words[4] = "-";
        }
        words.join(" ")
    });
    let own = |line: &String| !line.contains("user.berth.volume");
    Ok(lines.filter(own).collect::<Vec<_>>().join("\n"))
}

/// A directory with something of every kind.
///
/// # Errors
/// It cannot be made.
pub fn source(at: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(at.join("base/deep"))?;
    fs::write(at.join("base/rows"), "all the rows".repeat(1_000))?;
    fs::hard_link(at.join("base/rows"), at.join("base/deep/same"))?;
    fs::write(at.join("empty"), "")?;
    fs::set_permissions(at.join("empty"), fs::Permissions::from_mode(0o4751))?;
    symlink("base/rows", at.join("link"))?;
    symlink("/nowhere", at.join("dangling"))?;
    let mut sparse = File::create(at.join("sparse"))?;
    sparse.seek(SeekFrom::Start(64 << 20))?;
    sparse.write_all(b"end")?;
    let pipe = run(Path::new("/usr/bin/mkfifo"), &[&at.join("pipe").display().to_string()], &[])?;
    ensure!(pipe.code == 0, "{pipe:?}");
    let rows = at.join("base/rows").display().to_string();
    // Without the tools or the privilege the rest is compared all the same.
    run(Path::new("/usr/bin/setfattr"), &["-n", "user.note", "-v", "kept", &rows], &[]).ok();
    run(
        Path::new("/bin/chown"),
        &["-h", "1234:4321", &at.join("empty").display().to_string()],
        &[],
    )?;
    fs::set_permissions(at.join("empty"), fs::Permissions::from_mode(0o4751))?;
    let old = ["-h", "-d", "2001-02-03 04:05:06", &at.join("link").display().to_string(), &rows]
        .map(str::to_owned);
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    ensure!(run(Path::new("/usr/bin/touch"), &old, &[])?.code == 0, "touch");
    Ok(())
}
