//! A name with its beginning in front: most comparisons of two end there, without following a pointer.

use berth_model::id::FrameworkId;
use berth_model::role::Role;

/// Ordered as the name is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label<N> {
    /// The first 16 bytes, the first one highest; zeros behind a shorter name.
    head: u128,
    pub(super) name: N,
}

fn head(text: &str) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    u128::from_be_bytes(bytes)
}

impl Label<Role> {
    pub(super) fn of_role(role: &Role) -> Self {
        Self { head: head(role.as_str()), name: role.clone() }
    }
}

impl Label<FrameworkId> {
    pub(super) fn of_framework(id: &FrameworkId) -> Self {
        Self { head: head(id.as_str()), name: id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_ordered_as_names_are() {
        let texts = ["a", "a!", "a/b", "ab", "0123456789abcdef", "0123456789abcdef0", "é", "*"];
        let mut roles: Vec<Role> = texts.iter().map(|text| Role::new(text).unwrap()).collect();
        let mut labels: Vec<_> = roles.iter().map(Label::of_role).collect();
        labels.sort();
        roles.sort();
        assert_eq!(labels.into_iter().map(|label| label.name).collect::<Vec<_>>(), roles);
    }
}
