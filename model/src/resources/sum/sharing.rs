//! Shared volumes within a sum: they are counted in copies, and their size once.

use super::{Amount, Resources};
use std::borrow::Cow;

impl Resources {
    /// The shared volumes, with their copies.
    #[must_use]
    pub fn shared(&self) -> Self {
        if !self.summary().has_shared {
            return Self::new();
        }
        self.of_kind(true)
    }
    /// Everything but the shared volumes; nothing is copied where there are none.
    #[must_use]
    pub fn unshared(&self) -> Cow<'_, Self> {
        if self.summary().has_shared {
            Cow::Owned(self.of_kind(false))
        } else {
            Cow::Borrowed(self)
        }
    }
    fn of_kind(&self, shared: bool) -> Self {
        self.kept(|key, _held| key.shared == shared)
    }
    /// The same with one copy of each shared volume: what there is, however often it is given away.
    #[must_use]
    pub fn once(&self) -> Self {
        let mut once = self.clone();
        if !once.summary().has_shared {
            return once;
        }
        for (_, held) in once.held_mut().iter_mut().filter(|(key, _)| key.shared) {
            if let Amount::Copies(copies) = &mut held.amount {
                *copies = 1;
            }
        }
        once
    }
}
