//! Typed ids in JSON: written as they print, read back through their checks.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;
use std::fmt::Display;
use std::str::FromStr;

pub(super) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// The same for what may be absent.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Milliseconds since the Unix epoch.
pub(super) mod time {
    use super::{Deserialize, Deserializer, Serializer};
    use berth_model::units::Timestamp;

    pub(crate) fn serialize<S: Serializer>(value: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.ms())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(from).map(Timestamp::from_ms)
    }
}

/// A service in its canonical form, as the text of a document.
pub(super) mod document {
    use super::{Deserialize, Deserializer, Error, Serializer};
    use crate::document::{Format, Service, parse};

    pub(crate) fn serialize<S: Serializer>(value: &Service, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_json())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Service, D::Error> {
        let text = String::deserialize(from)?;
        match parse(&text, Some(Format::Json)) {
            Ok(services) => {
                services.into_iter().next().ok_or_else(|| D::Error::custom("no service"))
            },
            Err(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Err(D::Error::custom(lines.join("; ")))
            },
        }
    }
}
