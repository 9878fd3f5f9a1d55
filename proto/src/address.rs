//! Addresses as people write them: `HOST:PORT` or `http://HOST:PORT`.

use berth_model::error::{ErrorCode, Rejection};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use tonic::transport::Endpoint;

/// Where a server of Berth is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
    /// As a URI: `http://HOST:PORT`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{self}")
    }
    /// For a gRPC channel.
    ///
    /// # Errors
    /// The host is no host of a URI.
    pub fn endpoint(&self) -> Result<Endpoint, Rejection> {
        Endpoint::from_shared(self.uri()).map_err(|e| bad(&self.to_string(), &e.to_string()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        let trimmed = text.trim();
        let rest = match trimmed.split_once("://") {
            None => trimmed,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                rest.strip_suffix('/').unwrap_or(rest)
            },
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
                let plain = rest.strip_suffix('/').unwrap_or(rest);
                return Err(Rejection::new(
                    ErrorCode::Unsupported,
                    format!("address {text:?} asks for TLS, which this release does not speak"),
                )
                .remedy(format!("write http://{plain} or {plain}")));
            },
            Some((scheme, _)) => return Err(bad(text, &format!("the scheme is {scheme:?}"))),
        };
        let (host, port) = split(rest).ok_or_else(|| bad(text, "it has no port"))?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) => inner
                .parse::<Ipv6Addr>()
                .map_err(|e| bad(text, &format!("{inner:?} is no IPv6 address ({e})")))?
                .to_string(),
            None if host.is_empty() => return Err(bad(text, "it has no host")),
            None if host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) => {
                host.to_owned()
            },
            None if host.contains(':') => {
                return Err(bad(text, "an IPv6 address stands in brackets"));
            },
            None => return Err(bad(text, &format!("{host:?} is no host"))),
        };
        match port.parse::<u16>() {
            Ok(port) if port > 0 && !text.contains('+') => Ok(Self { host, port }),
            Ok(_) | Err(_) => {
                Err(bad(text, &format!("{port:?} is no port (a number from 1 to 65535)")))
            },
        }
    }
}

/// Host and port; nothing when there is no port.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let inside_brackets = port.contains(']');
    (!inside_brackets).then_some((host, port))
}

fn bad(text: &str, why: &str) -> Rejection {
    Rejection::new(ErrorCode::InvalidArgument, format!("address {text:?} cannot be used: {why}"))
        .remedy("write HOST:PORT or http://HOST:PORT, such as 127.0.0.1:5050")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_printed_alike() {
        for (text, printed) in [
            ("127.0.0.1:5050", "127.0.0.1:5050"),
            ("http://127.0.0.1:5050", "127.0.0.1:5050"),
            ("HTTP://master-1.example.org:80/", "master-1.example.org:80"),
            ("[::1]:5050", "[::1]:5050"),
            ("http://[0:0::1]:5050", "[::1]:5050"),
            (" localhost:65535 ", "localhost:65535"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            let uri = address.endpoint().unwrap().uri().to_string();
            assert_eq!(uri, format!("http://{printed}/"));
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "it has no port"),
            ("localhost", "it has no port"),
            ("[::1]", "it has no port"),
            (":5050", "it has no host"),
            ("::1:5050", "an IPv6 address stands in brackets"),
            ("[localhost]:1", "\"localhost\" is no IPv6 address (invalid IPv6 address syntax)"),
            ("a b:1", "\"a b\" is no host"),
            ("user@host:1", "\"user@host\" is no host"),
            ("host:0", "\"0\" is no port (a number from 1 to 65535)"),
            ("host:65536", "\"65536\" is no port (a number from 1 to 65535)"),
            ("host:+1", "\"+1\" is no port (a number from 1 to 65535)"),
            ("http://host:1/path", "\"1/path\" is no port (a number from 1 to 65535)"),
            ("unix://host:1", "the scheme is \"unix\""),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), bad(text, why), "{text}");
        }
        assert_eq!(
            "https://host:5050/".parse::<Address>().unwrap_err(),
            Rejection::new(
                ErrorCode::Unsupported,
                "address \"https://host:5050/\" asks for TLS, which this release does not speak"
            )
            .remedy("write http://host:5050 or host:5050")
        );
    }
}
