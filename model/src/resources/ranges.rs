//! Sets of integers as sorted, disjoint, non-adjacent ranges (ports).

use std::fmt;

/// Both ends included; `begin <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// First number.
    pub begin: u64,
    /// Last number.
    pub end: u64,
}

/// Canonical: sorted, disjoint, merged when adjacent.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<Range>);

/// Why ranges cannot be taken as a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// The end lies before the begin.
    #[error("range [{begin}-{end}] ends before it begins")]
    Inverted { begin: u64, end: u64 },
    /// Two ranges share a number.
    #[error("ranges overlap at {at}")]
    Overlap { at: u64 },
}

impl Ranges {
    /// Checks and merges.
    ///
    /// # Errors
    /// A range is inverted, or two overlap.
    pub fn new(mut ranges: Vec<Range>) -> Result<Self, RangesError> {
        ranges.sort();
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            if range.end < range.begin {
                return Err(RangesError::Inverted { begin: range.begin, end: range.end });
            }
            match merged.last_mut() {
                Some(last) if range.begin <= last.end => {
                    return Err(RangesError::Overlap { at: range.begin });
                },
                Some(last) if last.end.checked_add(1) == Some(range.begin) => last.end = range.end,
                Some(_) | None => merged.push(range),
            }
        }
        Ok(Self(merged))
    }
    /// The ranges in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }
    /// True when there is no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// How many numbers, saturating.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |n: u64, r| n.saturating_add(r.end - r.begin).saturating_add(1))
    }
    /// True when every number of `other` is here.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|want| self.0.iter().any(|have| have.begin <= want.begin && want.end <= have.end))
    }
    /// The union of two disjoint sets.
    ///
    /// # Errors
    /// They share a number.
    pub fn union(&self, other: &Self) -> Result<Self, RangesError> {
        Self::new(self.0.iter().chain(&other.0).copied().collect())
    }
    /// The numbers here that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for have in &self.0 {
            let mut next = Some(have.begin);
            for cut in other.0.iter().filter(|c| c.end >= have.begin && c.begin <= have.end) {
                let Some(begin) = next else { break };
                if cut.begin > begin {
                    left.push(Range { begin, end: cut.begin - 1 });
                }
                next = cut.end.checked_add(1).filter(|n| *n <= have.end);
            }
            if let Some(begin) = next {
                left.push(Range { begin, end: have.end });
            }
        }
        Self(left)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}-{}", range.begin, range.end)?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
