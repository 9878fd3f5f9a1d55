//! The copy of a directory of the machine.
//!
//! Everything is looked at three times: before the first byte is copied, when it is copied, and when the copy is on the
//! disk. An entry that is not the same each time, by its inode, its times and its length, ends the import: no copy is made
//! of two states. Writes through a mapping are seen when the kernel gives them a time; whoever has a file open for writing
//! is therefore a reason to refuse beforehand.

use super::copy::{Again, Comparer, Copier, Wanted};
use super::survey::{Seen, ask_who, look};
use super::walk::{changed, walk};
use super::{Content, Counter, Sources, Stop};
use crate::disk::fs::Node;
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
}

impl Content for Directory<'_> {
    fn fill(&mut self, root: &Node) -> Result<(), Stop> {
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
        let (source, shown) = self.open()?;
        let mut copier = Copier::new(&shown, &self.counter, &self.seen.prints, root);
        walk(&source, &mut copier)?;
        if copier.prints.next().is_some() {
            return Err(changed(&shown));
        }
        self.made = copier.made;
        Ok(())
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
