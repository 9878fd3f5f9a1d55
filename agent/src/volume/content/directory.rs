//! The copy of a directory of the machine.
//!
//! Everything is looked at three times: before the first byte is copied, when it is copied, and when the copy is on the
//! disk. An entry that is not the same each time, by its inode, its times and its length, ends the import: no copy is made
//! of two states. Writes through a mapping are seen when the kernel gives them a time; whoever has a file open for writing
//! is therefore a reason to refuse beforehand.

use super::compare::{Again, Comparer};
use super::copy::{Copier, Wanted};
use super::survey::{Seen, ask_who, look};
use super::walk::{changed, walk};
use super::{Content, Counter, Sources, Stop};
use crate::disk::fs::Node;
use crate::disk::fs::copying::Told;
use berth_model::units::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

/// A directory that a volume is filled with.
#[derive(Debug)]
pub struct Directory<'a> {
    sources: &'a Sources,
    path: &'a str,
    size: Bytes,
    counter: Arc<Counter>,
    seen: Seen,
    made: Vec<Wanted>,
}

impl<'a> Directory<'a> {
    /// A directory for a volume of this size.
    #[must_use]
    pub fn new(sources: &'a Sources, path: &'a str, size: Bytes, counter: Arc<Counter>) -> Self {
        Self { sources, path, size, counter, seen: Seen::default(), made: Vec::new() }
    }

    fn open(&self) -> Result<(Node, PathBuf), Stop> {
        self.sources.open(self.path).map_err(Stop::Content)
    }

    /// Looks at all of it; fails with whatever speaks against a copy.
    fn survey(&mut self) -> Result<(), Stop> {
        let (source, shown) = self.open()?;
        self.seen = look(&source, &shown, self.size, &self.counter)?;
        if self.sources.is_host() {
            ask_who(&mut self.seen);
        }
        let survey = &self.seen.survey;
        if let Some(first) = survey.refusals.first() {
            let mut refused = first.clone();
            if let Some(more) = survey.refusals.len().checked_sub(1).filter(|more| *more > 0) {
                refused.message.push_str(&format!(", and {more} more reasons"));
                refused.remedy.push_str("; berth volume import --dry-run tells them all");
            }
            return Err(Stop::Content(refused));
        }
        self.counter.expect(survey.bytes.get(), self.seen.prints.len() as u64);
        Ok(())
    }

    /// Copies what the survey saw.
    fn copy(&mut self, root: &Node, told: Told<'_>) -> Result<(), Stop> {
        let (source, shown) = self.open()?;
        let mut copier = Copier::new(&shown, &self.counter, &self.seen.prints, root, told);
        walk(&source, &mut copier)?;
        if copier.prints.next().is_some() {
            return Err(changed(&shown));
        }
        self.made = copier.made;
        Ok(())
    }
}

impl Content for Directory<'_> {
    fn fill(&mut self, root: &Node) -> Result<(), Stop> {
        self.survey()?;
        let counter = Arc::clone(&self.counter);
        self.copy(root, &|bytes| counter.add_bytes(bytes))
    }

    fn compare(&mut self, root: &Node) -> Result<(), Stop> {
        let mut comparer = Comparer { counter: &self.counter, wanted: self.made.iter() };
        walk(root, &mut comparer)?;
        comparer.end()?;
        let (source, shown) = self.open()?;
        let prints = self.seen.prints.iter();
        let mut again = Again { shown: &shown, counter: &self.counter, prints };
        walk(&source, &mut again)?;
        match again.prints.next() {
            None => Ok(()),
            Some(_gone) => Err(changed(&shown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::error::{ErrorCode, Rejection};
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    struct Scene {
        base: tempfile::TempDir,
        sources: Sources,
    }

    impl Scene {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            for folder in ["source", "source/deeper", "copy"] {
                fs::create_dir(base.path().join(folder)).unwrap();
            }
            let sources = Sources::host(vec![base.path().to_owned()], Vec::new());
            let scene = Self { base, sources };
            scene.write("source/deeper/first", "as it was");
            scene.write("source/second", "as it was");
            scene
        }

        fn at(&self, path: &str) -> PathBuf {
            self.base.path().join(path)
        }

        /// Long ago, so that a change in the same instant has another time all the same.
        fn write(&self, path: &str, text: &str) {
            fs::write(self.at(path), text).unwrap();
            let file = File::options().write(true).open(self.at(path)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30)).unwrap();
        }

        fn root(&self) -> Node {
            Node::from(OwnedFd::from(File::open(self.at("copy")).unwrap()))
        }

        /// Carries the copy out and has something done before, during and after it.
        fn copy(
            &self,
            before: impl Fn(&Self),
            meanwhile: impl Fn(&Self),
            after: impl Fn(&Self),
        ) -> Result<(), Stop> {
            let path = self.at("source").display().to_string();
            let counter = Arc::new(Counter::default());
            let mut content = Directory::new(&self.sources, &path, Bytes::from_mib(8), counter);
            content.survey()?;
            before(self);
            let told = |_bytes| {
                meanwhile(self);
                true
            };
            content.copy(&self.root(), &told)?;
            after(self);
            content.compare(&self.root())
        }
    }

    fn nothing(_scene: &Scene) {}

    #[track_caller]
    fn refused(ended: Result<(), Stop>, at: &Path) -> Rejection {
        let Err(Stop::Content(reason)) = ended else { panic!("it ended with {ended:?}") };
        assert!(reason.message.contains(&at.display().to_string()), "{reason}");
        reason
    }

    fn changes(scene: &Scene) {
        // As many bytes as before.
        fs::write(scene.at("source/second"), "as it IS!").unwrap();
    }

    #[test]
    fn a_directory_that_stays_as_it_is_is_copied() {
        let scene = Scene::new();
        assert_eq!(scene.copy(nothing, nothing, nothing), Ok(()));
        assert_eq!(fs::read(scene.at("copy/deeper/first")).unwrap(), b"as it was");
    }

    #[test]
    fn a_file_that_changes_before_while_or_after_it_is_copied_is_noticed() {
        for moment in 0..3 {
            let scene = Scene::new();
            let at = |this| {
                move |scene: &Scene| {
                    if this == moment {
                        changes(scene);
                    }
                }
            };
            let ended = scene.copy(at(0), at(1), at(2));
            let reason = refused(ended, &scene.at("source/second"));
            assert_eq!(reason.code, ErrorCode::SourceChanged, "at {moment}: {reason}");
        }
    }

    #[test]
    fn a_name_that_comes_or_goes_is_noticed() {
        let comes = |scene: &Scene| scene.write("source/third", "");
        let goes = |scene: &Scene| fs::remove_file(scene.at("source/second")).unwrap();
        let changes: [fn(&Scene); 2] = [comes, goes];
        for change in changes {
            for moment in 0..3 {
                let scene = Scene::new();
                let at = |this| {
                    move |scene: &Scene| {
                        if this == moment {
                            change(scene);
                        }
                    }
                };
                let ended = scene.copy(at(0), at(1), at(2));
                let reason = refused(ended, &scene.at("source"));
                assert_eq!(reason.code, ErrorCode::SourceChanged, "at {moment}: {reason}");
            }
        }
    }

    #[test]
    fn the_identity_of_a_volume_that_comes_meanwhile_is_not_copied() {
        let mark = |scene: &Scene, path: &str| {
            let (name, flags) =
                (super::super::survey::IDENTITIES[1], rustix::fs::XattrFlags::CREATE);
            rustix::fs::setxattr(scene.at(path), name, b"{}", flags)
        };
        let scene = Scene::new();
        if let Err(errno) = mark(&scene, "copy") {
            eprintln!("SKIPPED: no attributes of users here ({errno})");
            return;
        }
        let scene = Scene::new();
        // The directory was entered already when its file is copied; its own look is taken when it is left.
        let meanwhile = |scene: &Scene| {
            mark(scene, "source/deeper").ok();
        };
        let reason = refused(scene.copy(nothing, meanwhile, nothing), &scene.at("source/deeper"));
        assert_eq!(reason.code, ErrorCode::SourceChanged);
        let list = &mut [0_u8; 1024];
        let length = rustix::fs::listxattr(scene.at("copy/deeper"), list.as_mut_slice()).unwrap();
        assert!(!String::from_utf8_lossy(&list[..length]).contains("berth"));
    }

    #[test]
    fn a_copy_that_is_not_what_was_copied_says_so_and_is_no_error_of_the_disk() {
        let differs = |scene: &Scene| scene.write("copy/second", "as it is.");
        let scene = Scene::new();
        let reason = refused(scene.copy(nothing, nothing, differs), Path::new("second"));
        assert_eq!(reason.code, ErrorCode::CopyDiffers);
        let lacks = |scene: &Scene| fs::remove_file(scene.at("copy/second")).unwrap();
        let scene = Scene::new();
        let reason = refused(scene.copy(nothing, nothing, lacks), Path::new("the copy"));
        assert_eq!(reason.code, ErrorCode::CopyDiffers);
    }

    #[test]
    fn a_time_that_the_file_system_of_the_copy_does_not_know_is_refused() {
        let scene = Scene::new();
        // One that keeps every time; the year is 3058.
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 35);
        let keeps = |folder: &Path| {
            let path = folder.join("file");
            let file = File::create(&path).and_then(|file| file.set_modified(far));
            file.is_ok() && fs::metadata(path).is_ok_and(|file| file.modified().unwrap() == far)
        };
        let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
            eprintln!("SKIPPED: no memory file system at /dev/shm");
            return;
        };
        if !keeps(other.path()) || keeps(&scene.at("copy")) {
            eprintln!(
                "SKIPPED: no two file systems here of which one knows times that the other does not"
            );
            return;
        }
        let sources = Sources::host(vec![other.path().to_owned()], Vec::new());
        let path = other.path().display().to_string();
        fs::remove_file(scene.at("copy/file")).unwrap();
        let mut content = Directory::new(&sources, &path, Bytes::from_mib(8), Arc::default());
        let reason = refused(content.fill(&scene.root()), &other.path().join("file"));
        assert_eq!(reason.code, ErrorCode::ImportRefused);
        assert!(reason.message.contains("34359738368 seconds"), "{reason}");
    }
}
