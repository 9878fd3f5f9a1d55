//! Quantities with their units: fixed-point scalars, byte counts, points in time.
//!
//! No floating point takes part: a scalar is thousandths (Mesos semantics, three decimals), and all
//! arithmetic is checked.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bytes in one MiB, the native unit of `mem` and `disk`.
pub const MIB: u64 = 1 << 20;

/// A fixed-point number with three decimals: thousandths of a cpu, thousandths of a MiB.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scalar(i64);

impl Scalar {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From thousandths.
    #[must_use]
    pub const fn from_milli(milli: i64) -> Self {
        Self(milli)
    }
    /// From whole units.
    ///
    /// # Errors
    /// `units` times 1,000 does not fit.
    pub fn from_units(units: u64) -> Result<Self, UnitError> {
        i64::try_from(units)
            .ok()
            .and_then(|u| u.checked_mul(1_000))
            .map(Self)
            .ok_or_else(|| UnitError::TooLarge { text: units.to_string() })
    }
    /// Thousandths.
    #[must_use]
    pub const fn milli(self) -> i64 {
        self.0
    }
    /// True at zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// True above zero.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }
    /// Sum, or nothing on overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
    /// Difference, or nothing when `other` is larger.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).filter(|d| *d >= 0).map(Self)
    }
    /// Difference, or zero when `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        self.checked_sub(other).unwrap_or(Self::ZERO)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (magnitude / 1_000, magnitude % 1_000);
        if rest == 0 {
            write!(f, "{sign}{whole}")
        } else {
            let decimals = format!("{rest:03}");
            write!(f, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Scalar {
    type Err = UnitError;
    /// A decimal number, not negative; more than three decimals are rounded half up, and a value that
    /// would round to zero is refused.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || UnitError::NotANumber { text: text.to_owned() };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() && decimals.is_empty() {
            return Err(bad());
        }
        if !whole.bytes().chain(decimals.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let large = || UnitError::TooLarge { text: text.to_owned() };
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_e| large())? };
        let digit = |i: usize| decimals.as_bytes().get(i).map_or(0, |b| i64::from(*b) - 48);
        let milli = digit(0) * 100 + digit(1) * 10 + digit(2) + i64::from(digit(3) >= 5);
        let value =
            whole.checked_mul(1_000).and_then(|w| w.checked_add(milli)).ok_or_else(large)?;
        if value == 0 && decimals.bytes().any(|b| b != b'0') {
            return Err(UnitError::TooSmall { text: text.to_owned() });
        }
        Ok(Self(value))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// From a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    /// From whole MiB, saturating.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(MIB))
    }
    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
    /// Whole MiB, when there is no remainder.
    #[must_use]
    pub const fn whole_mib(self) -> Option<u64> {
        if self.0.is_multiple_of(MIB) { Some(self.0 / MIB) } else { None }
    }
    /// The scalar (MiB) that stands for this size in `mem` and `disk`.
    ///
    /// # Errors
    /// The size is not a whole number of MiB, is zero, or does not fit.
    pub fn to_scalar(self) -> Result<Scalar, UnitError> {
        match self.whole_mib() {
            Some(0) => Err(UnitError::Zero),
            Some(mib) => Scalar::from_units(mib),
            None => Err(UnitError::NotWholeMib { bytes: self.0 }),
        }
    }
    /// The size that a `mem` or `disk` scalar (MiB) stands for; fractions of a MiB are cut.
    #[must_use]
    pub fn from_scalar(mib: Scalar) -> Self {
        Self::from_mib(u64::try_from(mib.milli() / 1_000).unwrap_or(0))
    }
    /// Sum, or nothing on overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
    /// Difference, or nothing when `other` is larger.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

const BINARY_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", MIB), ("KiB", 1 << 10), ("B", 1)];

impl fmt::Display for Bytes {
    /// The largest binary unit with at most one decimal; exact values print exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in BINARY_UNITS {
            if self.0 >= factor {
                let (whole, rest) = (self.0 / factor, self.0 % factor);
                let tenths = rest * 10 / factor;
                return if tenths == 0 || factor == 1 {
                    write!(f, "{whole} {unit}")
                } else {
                    write!(f, "{whole}.{tenths} {unit}")
                };
            }
        }
        f.write_str("0 B")
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

impl FromStr for Bytes {
    type Err = UnitError;
    /// A whole or decimal number with a unit: B, KiB, MiB, GiB, TiB, or kB, MB, GB, TB.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        let split =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let factor = match unit.trim_start() {
            "B" => 1,
            "KiB" | "Ki" | "K" => 1 << 10,
            "MiB" | "Mi" | "M" => MIB,
            "GiB" | "Gi" | "G" => 1 << 30,
            "TiB" | "Ti" | "T" => 1 << 40,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "" => return Err(UnitError::NoUnit { text: text.to_owned() }),
            other => {
                return Err(UnitError::UnknownUnit {
                    text: text.to_owned(),
                    unit: other.to_owned(),
                });
            },
        };
        let scalar: Scalar = number.parse()?;
        let milli = u128::from(scalar.milli().unsigned_abs());
        u64::try_from(milli * u128::from(factor) / 1_000)
            .map(Self)
            .map_err(|_e| UnitError::TooLarge { text: text.to_owned() })
    }
}

/// Why a text or number is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a decimal number.
    #[error("{text:?} is not a number (digits, at most one point, not negative)")]
    NotANumber { text: String },
    /// Does not fit.
    #[error("{text} is too large")]
    TooLarge { text: String },
    /// Rounds to nothing.
    #[error("{text} is below the smallest step of 0.001")]
    TooSmall { text: String },
    /// A size without its unit.
    #[error("{text:?} has no unit: write for example {text}MiB or {text}GiB")]
    NoUnit { text: String },
    /// A unit nobody knows.
    #[error("{text:?} has the unknown unit {unit:?}: use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB")]
    UnknownUnit { text: String, unit: String },
    /// Sizes of memory and disk are whole MiB.
    #[error("{bytes} bytes is not a whole number of MiB")]
    NotWholeMib { bytes: u64 },
    /// A size of nothing.
    #[error("the size is zero: give at least 1MiB")]
    Zero,
    /// A duration that cannot be read.
    #[error("{text:?} is not a duration: write for example 500ms, 5s, 10m, 24h or 7d")]
    NotADuration { text: String },
}

/// Reads `500ms`, `5s`, `10m`, `24h`, `7d`; the unit is required.
///
/// # Errors
/// The text has no number, no unit, or another unit.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let bad = || UnitError::NotADuration { text: text.to_owned() };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_e| bad())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(bad)
}

/// Writes a duration in its largest whole unit, readable by [`parse_duration`].
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= factor && ms.is_multiple_of(factor) {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{ms}ms")
}

/// A point in time: milliseconds since the Unix epoch. The shells read it from a clock; the cores
/// only receive it. A span between two points is a [`Duration`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }
    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }
    /// This point moved into the future, saturating.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
    /// How long ago `earlier` was; zero when it lies ahead (clocks step back).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
    /// The UTC date and time to the second, as a name may contain it: `20261123-051500`.
    #[must_use]
    pub fn compact(self) -> String {
        let seconds = self.0 / 1_000;
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Years begin in March, so that a leap day is the last of its year; eras of 400 years are alike.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_print_as_dates() {
        for (seconds, text) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (951_868_800, "20000301-000000"),
            (1_798_761_599, "20261231-235959"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(Timestamp::from_ms(seconds * 1_000 + 999).compact(), text);
        }
    }

    #[test]
    fn scalars_are_thousandths() {
        for (text, milli, printed) in
            [("0.1", 100, "0.1"), ("1.0005", 1001, "1.001"), ("2", 2000, "2"), (".5", 500, "0.5")]
        {
            let scalar: Scalar = text.parse().unwrap();
            assert_eq!((scalar.milli(), scalar.to_string()), (milli, printed.to_owned()));
        }
        for text in ["", ".", "-1", "1e9", "0x1", "1.2.3", "0.0001", "99999999999999999999"] {
            assert!(text.parse::<Scalar>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_need_units_and_print_readably() {
        for (text, bytes, printed) in [
            ("10GiB", 10 << 30, "10 GiB"),
            ("1.5 GiB", 3 << 29, "1.5 GiB"),
            ("512MiB", 512 << 20, "512 MiB"),
            ("1B", 1, "1 B"),
            ("1kB", 1000, "1000 B"),
        ] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!((size.get(), size.to_string()), (bytes, printed.to_owned()));
        }
        assert_eq!(
            "10".parse::<Bytes>().unwrap_err().to_string(),
            "\"10\" has no unit: write for example 10MiB or 10GiB"
        );
        assert_eq!(
            "10GIB".parse::<Bytes>().unwrap_err(),
            UnitError::UnknownUnit { text: "10GIB".into(), unit: "GIB".into() }
        );
        assert_eq!(Bytes::new(5).to_scalar().unwrap_err(), UnitError::NotWholeMib { bytes: 5 });
    }

    #[test]
    fn durations_round_trip() {
        for text in ["500ms", "5s", "90s", "10m", "24h"] {
            let span = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(span)).unwrap(), span);
        }
        for text in ["5", "5 s", "", "s", "-1s", "1.5s"] {
            let want = UnitError::NotADuration { text: text.to_owned() };
            assert_eq!(parse_duration(text), Err(want));
        }
    }
}
