//! Weights of roles: how large a part of the cluster a role is meant to have, beside its siblings.
//!
//! A weight is thousandths, so that decisions compare integers. Invariant: it is above zero and bounded; a role without a
//! record has weight 1.

use crate::id::OperationId;
use crate::role::Role;
use crate::units::{Scalar, Timestamp};
use std::fmt;
use std::str::FromStr;

/// How much a role counts beside its siblings. Twice the weight is twice the share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

/// What a role weighs and since when; kept only while it is not 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleWeight {
    /// Which role, at any depth.
    pub role: Role,
    /// What it weighs.
    pub weight: Weight,
    /// Since when.
    pub changed: Timestamp,
    /// Who asked: the operation.
    pub operation: OperationId,
}

/// Why something is no weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// Zero, or less than a thousandth.
    #[error("weight {0} is not above zero: the smallest is 0.001")]
    NotPositive(String),
    /// Beyond the bound.
    #[error("weight {0} is above the largest, 1000000")]
    TooLarge(String),
    /// No decimal number: a sign, an exponent, `nan`, `inf` or words.
    #[error("weight {0:?} is no decimal number with at most three decimals, such as 0.5 or 2")]
    NotANumber(String),
}

impl Weight {
    /// What a role weighs of which nobody has said anything.
    pub const ONE: Self = Self(1_000);
    /// The smallest.
    pub const MIN: Self = Self(1);
    /// The largest.
    pub const MAX: Self = Self(1_000_000_000);

    /// From thousandths.
    ///
    /// # Errors
    /// It is zero, or above [`Weight::MAX`].
    pub fn from_milli(milli: u64) -> Result<Self, WeightError> {
        let shown = || Scalar::from_milli(i64::try_from(milli).unwrap_or(i64::MAX)).to_string();
        match milli {
            0 => Err(WeightError::NotPositive(shown())),
            _ if milli > Self::MAX.0 => Err(WeightError::TooLarge(shown())),
            _ => Ok(Self(milli)),
        }
    }
    /// Thousandths.
    #[must_use]
    pub const fn milli(self) -> u64 {
        self.0
    }
    /// True for the weight of a role of which nobody has said anything.
    #[must_use]
    pub fn is_default(self) -> bool {
        self == Self::ONE
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Scalar::from_milli(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Weight {
    type Err = WeightError;
    /// A decimal number; what is beyond three decimals is refused, not rounded.
    fn from_str(text: &str) -> Result<Self, WeightError> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if digits.is_empty() || whole.is_empty() || !is_number(whole) || !is_number(decimals) {
            return Err(WeightError::NotANumber(text.to_owned()));
        }
        let decimals = decimals.trim_end_matches('0');
        if sign
            || decimals.len() > 3 && whole.bytes().all(|b| b == b'0') && decimals.starts_with("000")
        {
            return Err(WeightError::NotPositive(text.to_owned()));
        }
        if decimals.len() > 3 {
            return Err(WeightError::NotANumber(text.to_owned()));
        }
        let large = || WeightError::TooLarge(text.to_owned());
        let milli = format!("{whole}{decimals:0<3}").parse::<u64>().map_err(|_e| large())?;
        Self::from_milli(milli).map_err(|error| match error {
            WeightError::NotPositive(_) => WeightError::NotPositive(text.to_owned()),
            WeightError::TooLarge(_) | WeightError::NotANumber(_) => large(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_decimal_numbers_above_zero_and_bounded() {
        for (text, milli) in [
            ("1", 1_000),
            ("1.0", 1_000),
            ("0.001", 1),
            ("2.5", 2_500),
            ("007", 7_000),
            ("0.500000", 500),
            ("1000000", 1_000_000_000),
        ] {
            assert_eq!(text.parse::<Weight>().map(Weight::milli), Ok(milli), "{text}");
        }
        let not_positive = |text: &str| WeightError::NotPositive(text.to_owned());
        let large = |text: &str| WeightError::TooLarge(text.to_owned());
        let no_number = |text: &str| WeightError::NotANumber(text.to_owned());
        for text in ["0", "0.0", "-1", "-0.5", "0.0004", "0.0000001"] {
            assert_eq!(text.parse::<Weight>(), Err(not_positive(text)), "{text}");
        }
        for text in ["1000000.001", "99999999999999999999999", "18446744073709551616"] {
            assert_eq!(text.parse::<Weight>(), Err(large(text)), "{text}");
        }
        for text in
            ["", ".", ".5", "nan", "NaN", "inf", "1e3", "+1", "1,5", "1.2345", "-nan", "0x1"]
        {
            assert_eq!(text.parse::<Weight>(), Err(no_number(text)), "{text}");
        }
        assert_eq!(Weight::from_milli(0), Err(not_positive("0")));
        assert_eq!(Weight::from_milli(1_000_000_001), Err(large("1000000.001")));
        assert_eq!(Weight::from_milli(u64::MAX), Err(large("9223372036854775.807")));
    }

    #[test]
    fn a_weight_is_read_as_it_was_written() {
        for milli in [1, 10, 999, 1_000, 1_001, 12_340, 1_000_000_000] {
            let weight = Weight::from_milli(milli).unwrap();
            assert_eq!(weight.to_string().parse(), Ok(weight));
        }
        assert_eq!(Weight::default().to_string(), "1");
    }
}
