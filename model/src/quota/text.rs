//! Amounts as people write and read them: `cpus=4,mem=8GiB,disk[ssd]=1TiB`.

use super::{Amounts, Counted};
use crate::id::ProfileName;
use crate::resources::Name;
use crate::units::{Bytes, Scalar, UnitError};
use std::str::FromStr;

/// Why a text does not name what is counted, or how much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not `NAME=AMOUNT`.
    #[error("{0:?} is not NAME=AMOUNT, such as cpus=4, mem=8GiB or disk[ssd]=1TiB")]
    Form(String),
    /// The name is no name.
    #[error("{0:?} is not the name of a resource, such as cpus, mem, disk or disk[ssd]")]
    Name(String),
    /// Twice the same.
    #[error("{0} is given twice")]
    Twice(Counted),
    /// The amount is no amount.
    #[error("{counted}: {source}")]
    Amount {
        /// Of what.
        counted: Counted,
        /// Why not.
        source: UnitError,
    },
}

impl FromStr for Counted {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let bad = || AmountError::Name(text.to_owned());
        if let Some(profile) = text.strip_prefix("disk[").and_then(|rest| rest.strip_suffix(']')) {
            return ProfileName::new(profile).map(Self::DiskOf).map_err(|_e| bad());
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(is_name) {
            return Err(bad());
        }
        Ok(Self::All(Name::new(text)))
    }
}

/// The longest name of a resource in a quota, in bytes.
const NAME_MAX: usize = 255;

/// Reads `cpus=4,mem=8GiB,disk[ssd]=1TiB`; sizes need a unit.
///
/// # Errors
/// Says which part is wrong.
pub fn parse_amounts(text: &str) -> Result<Amounts, AmountError> {
    let mut amounts = Amounts::new();
    for part in parts(text) {
        let (name, amount) =
            part.rsplit_once('=').ok_or_else(|| AmountError::Form(part.to_owned()))?;
        let counted: Counted = name.trim().parse()?;
        let wrong = |source| AmountError::Amount { counted: counted.clone(), source };
        let amount = amount.trim();
        let amount = match counted.is_space() {
            // Nothing is nothing in any unit.
            true if amount == "0" => Scalar::ZERO,
            true => {
                let size = amount.parse::<Bytes>().map_err(wrong)?;
                if size == Bytes::default() {
                    Scalar::ZERO
                } else {
                    size.to_scalar().map_err(wrong)?
                }
            },
            false => amount.parse().map_err(wrong)?,
        };
        if amounts.insert(counted.clone(), amount).is_some() {
            return Err(AmountError::Twice(counted));
        }
    }
    Ok(amounts)
}

/// At the commas that are not part of a profile's name.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            ',' if !inside => {
                parts.extend(text.get(from..at));
                from = at + 1;
            },
            _other => {},
        }
    }
    parts.extend(text.get(from..));
    parts
}

/// Amounts as [`parse_amounts`] reads them; `none` when there are none.
#[must_use]
pub fn show_amounts(amounts: &Amounts) -> String {
    let all: Vec<String> = amounts
        .iter()
        .map(|(counted, amount)| format!("{counted}={}", counted.shown(*amount)))
        .collect();
    if all.is_empty() { "none".to_owned() } else { all.join(",") }
}
