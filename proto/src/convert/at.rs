//! Where in a message the reader stands, so that an error can name the field at fault.
//!
//! The path lives on the stack and becomes text only when something is wrong.

use berth_model::error::{ErrorCode, Rejection};
use std::fmt;

/// A place in a message, such as `accept.operations[0].launch`.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> At<'a> {
    /// The whole message.
    pub const ROOT: At<'static> = At { parent: None, step: Step::Root };

    /// A field of what is here.
    #[must_use]
    pub fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }
    /// An element of the list here.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }
    /// An entry of the map here.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    /// A refusal of what is here. When `problem` says its remedy itself, after the last colon outside
    /// quotes, that one counts; otherwise `remedy` does.
    pub fn refuse(&self, code: ErrorCode, problem: impl fmt::Display, remedy: &str) -> Rejection {
        let text = problem.to_string();
        let (message, remedy) = match colon_outside_quotes(&text) {
            Some(colon) => (&text[..colon], &text[colon + 2..]),
            None => (text.as_str(), remedy),
        };
        Rejection::new(code, message).remedy(remedy).field(self.to_string())
    }
    /// A refusal of the shape of what is here.
    pub fn invalid(&self, problem: impl fmt::Display, remedy: &str) -> Rejection {
        self.refuse(ErrorCode::InvalidArgument, problem, remedy)
    }
    /// Nothing is here and something must be.
    #[must_use]
    pub fn missing(&self) -> Rejection {
        self.invalid("a required field is missing", "set the field")
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = match self.parent {
            Some(parent) => {
                fmt::Display::fmt(parent, f)?;
                matches!(parent.step, Step::Root)
            },
            None => true,
        };
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if first => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key:?}]"),
        }
    }
}

fn colon_outside_quotes(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut found) = (false, false, None);
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b':' if !quoted && bytes.get(index + 1) == Some(&b' ') => found = Some(index),
            _ => {},
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_prints_as_a_path_and_a_remedy_is_split_off_outside_quotes() {
        let root = At::ROOT;
        let operations = root.field("accept");
        let operations = operations.field("operations");
        let task = operations.index(0);
        let env = task.field("env");
        assert_eq!(env.key("A\"B").to_string(), "accept.operations[0].env[\"A\\\"B\"]");
        assert_eq!(root.to_string(), "");

        let refusal = root.field("x").invalid("role \"a: b\" is odd: use another", "unused");
        assert_eq!(
            refusal,
            Rejection::new(ErrorCode::InvalidArgument, "role \"a: b\" is odd")
                .remedy("use another")
                .field("x")
        );
        let refusal = root.field("x").invalid("\"a\\\": b\" is odd", "use another");
        assert_eq!(
            refusal,
            Rejection::new(ErrorCode::InvalidArgument, "\"a\\\": b\" is odd")
                .remedy("use another")
                .field("x")
        );
    }
}
