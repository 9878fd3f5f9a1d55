//! Killing a process at each system call of an effect, one after the other, and asking again.
//!
//! It does not know what the effects are: a case says what is done before, what is disturbed and what must be so
//! afterwards; a sweep says where, and what else is looked at. Invariant: every number of a call is tried until the process
//! gets through undisturbed, so no call of the names given is left out.

use crate::host::{has, skip, unmount_images};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// Volume 1, whose data the cases write.
pub const ONE: &str = "00000000000000000000000000000001";
/// Where its data is on a disk without a file system of its own for it.
pub const PLAIN_ROWS: &str = "disk/volumes/00000000000000000000000000000001/rows";
/// Where its data is when it is an image.
pub const IMAGE_ROWS: &str = "disk/.mounts/00000000000000000000000000000001/rows";

/// The program that carries out steps, and the driver of its disk.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The test's own `volume-step`.
    pub path: &'static str,
    /// As `volume-step` takes it.
    pub driver: &'static str,
    /// Are the tools it starts disturbed as well?
    pub with_tools: bool,
}

impl Program {
    /// What the steps answer, undisturbed.
    ///
    /// # Panics
    /// The program does not start.
    #[must_use]
    pub fn step(&self, work: &Path, steps: &[&str]) -> Vec<String> {
        let mut program = Command::new(self.path);
        program.arg(work).arg(self.driver).args(steps);
        lines(&program.output().expect("it starts"))
    }

    /// Runs the steps under strace with this injection, such as `fsync:signal=KILL:when=2`; with none, a trace with
    /// paths is written to `trace` in the work directory.
    ///
    /// # Panics
    /// strace does not start.
    #[must_use]
    pub fn traced(&self, work: &Path, injection: Option<&str>, steps: &[&str]) -> Output {
        let mut strace = Command::new("strace");
        if self.with_tools {
            strace.arg("-f");
        }
        strace.arg("-o").arg(work.join("trace"));
        match injection {
            Some(injection) => strace.arg("-e").arg(format!("inject={injection}")),
            None => strace.arg("-y"),
        };
        strace.arg(self.path).arg(work).arg(self.driver).args(steps);
        strace.output().expect("strace starts")
    }

    /// Can it be traced here? Says so when not.
    ///
    /// # Panics
    /// No temporary directory can be had.
    #[must_use]
    pub fn can_be_traced(&self) -> bool {
        if !has("strace") {
            skip("there is no strace on this machine");
            return false;
        }
        let work = tempfile::tempdir().expect("a temporary directory");
        let works = self.traced(work.path(), None, &[]).status.success();
        if !works {
            skip("strace may not trace here");
        }
        works
    }

    /// How often it makes the call before it comes to its steps.
    fn calls_of_opening(&self, work: &Path, call: &str) -> usize {
        let never = format!("{call}:signal=KILL:when=60000");
        let _untouched = self.traced(work, Some(&never), &[]);
        let trace = fs::read_to_string(work.join("trace")).expect("there is a trace");
        let (first, later) = (format!("{call}("), format!(" {call}("));
        trace.lines().filter(|line| line.starts_with(&first) || line.contains(&later)).count()
    }
}

/// What a program printed.
#[must_use]
pub fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// One effect that is disturbed.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Done before, undisturbed, in pairs; `write CONTENT` and `fill MIB` put data into volume 1, `unmount -` takes the
    /// images away as a restart of the machine does.
    pub before: &'static [&'static str],
    /// Disturbed, then asked again.
    pub step: &'static [&'static str],
    /// What it answers when it was not disturbed, and when it is asked again.
    pub done: &'static str,
    /// What must be so afterwards.
    pub after: &'static [&'static str],
    /// The answers to that.
    pub shows: &'static [&'static str],
    /// The files that must be there afterwards, below the work directory, with their contents.
    pub holds: &'static [(&'static str, &'static str)],
    /// The calls at which it is killed.
    pub calls: &'static [&'static str],
    /// The calls of opening the disk are left to other cases.
    pub spares_opening: bool,
}

/// Where cases run and what else is looked at.
#[expect(missing_debug_implementations, reason = "functions have nothing to show")]
pub struct Sweep<'a> {
    /// Who carries out the steps.
    pub program: Program,
    /// Where the data of volume 1 is written, below the work directory.
    pub rows: &'a str,
    /// A new work directory.
    pub begin: &'a dyn Fn() -> TempDir,
    /// Looks at what a killed process left, before anything is asked again.
    pub killed: &'a dyn Fn(&Path, &Case, &str),
    /// Looks at what is there in the end.
    pub end: &'a dyn Fn(&Path, &Case, &str),
    /// Gives back what removing the work directory does not.
    pub clear: &'a dyn Fn(&Path),
}

impl Sweep<'_> {
    /// A work directory in which everything was done that comes before the case.
    ///
    /// # Panics
    /// Something of it was not done.
    #[must_use]
    pub fn prepared(&self, case: &Case) -> TempDir {
        let work = (self.begin)();
        // The disk itself is made first.
        let _made = self.program.step(work.path(), &[]);
        for pair in case.before.chunks(2) {
            match pair {
                ["write", content] => fs::write(work.path().join(self.rows), content)
                    .unwrap_or_else(|error| panic!("the volume takes no data: {error}")),
                ["fill", mib] => fill(&work.path().join(self.rows).with_file_name("filling"), mib)
                    .unwrap_or_else(|error| panic!("the volume takes no {mib} MiB: {error}")),
                ["unmount", _nothing] => unmount_images(&work.path().join("disk")),
                step => {
                    let said = self.program.step(work.path(), step);
                    let done = said.iter().all(|line| line.ends_with(": present"));
                    assert!(done && said.len() == 1, "{step:?}: {said:?}");
                },
            }
        }
        work
    }

    /// Runs each case with a kill at each call; how many processes were killed.
    ///
    /// # Panics
    /// Something is not as it must be.
    #[must_use]
    pub fn run(&self, cases: &[Case]) -> usize {
        let mut kills = 0;
        for case in cases {
            for call in case.calls {
                kills += self.each_of(case, call);
            }
        }
        kills
    }

    fn each_of(&self, case: &Case, call: &str) -> usize {
        let first = if case.spares_opening {
            let work = self.prepared(case);
            let opening = self.program.calls_of_opening(work.path(), call);
            (self.clear)(work.path());
            opening + 1
        } else {
            1
        };
        for count in first.. {
            let work = self.prepared(case);
            let work = work.path();
            let injection = format!("{call}:signal=KILL:when={count}");
            let disturbed = self.program.traced(work, Some(&injection), case.step);
            let what = format!("{:?} killed at {call} {count}", case.step);
            let over = disturbed.status.success();
            if over {
                assert_eq!(lines(&disturbed), [case.done], "{what}");
            } else {
                (self.killed)(work, case, &what);
                assert_eq!(self.program.step(work, case.step), [case.done], "{what}");
            }
            assert_eq!(self.program.step(work, case.after), case.shows, "{what}");
            for (place, content) in case.holds {
                let found = fs::read_to_string(work.join(place)).unwrap_or_default();
                assert_eq!(found, *content, "{what}: {place}");
            }
            (self.end)(work, case, &what);
            (self.clear)(work);
            if over {
                return count - first;
            }
        }
        unreachable!("the loop has no end of its own")
    }
}

fn fill(path: &Path, mib: &str) -> std::io::Result<()> {
    let count: usize = mib.parse().map_err(std::io::Error::other)?;
    let mut file = fs::File::create(path)?;
    file.write_all(&vec![0x5a; count << 20])?;
    file.sync_all()
}

/// Looks at nothing.
pub fn nothing_more(_work: &Path, _case: &Case, _what: &str) {}
