//! Texts with `${...}` in them: a fixed set of names, nothing else.
//!
//! `$${` stands for `${`; a dollar sign before anything else is itself, so `$HOME` reaches the shell untouched.
//! Invariant: a template that was read without a problem can always be filled in.

use super::table::{Problems, nearest};
use std::fmt;

/// What can be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `${service.name}`
    ServiceName,
    /// `${service.role}`
    ServiceRole,
    /// `${pod.name}`
    PodName,
    /// `${instance.name}`: the pod's name, a hyphen and the ordinal.
    InstanceName,
    /// `${instance.ordinal}`: counts from 0.
    InstanceOrdinal,
    /// `${instance.host}`: the agent's host name.
    InstanceHost,
    /// `${task.name}`
    TaskName,
    /// `${port.NAME}`: the number of a port of the pod.
    Port(String),
    /// `${volume.NAME}`: where a volume of the pod is mounted.
    Volume(String),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Taken as it is.
    Literal(String),
    /// To be filled in.
    Variable(Variable),
}

/// A text with variables.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    raw: String,
    parts: Vec<Part>,
}

/// The names a template may use besides the fixed ones.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) ports: Vec<&'a str>,
    pub(super) volumes: Vec<&'a str>,
}

const FIXED: [(&str, Variable); 7] = [
    ("service.name", Variable::ServiceName),
    ("service.role", Variable::ServiceRole),
    ("pod.name", Variable::PodName),
    ("instance.name", Variable::InstanceName),
    ("instance.ordinal", Variable::InstanceOrdinal),
    ("instance.host", Variable::InstanceHost),
    ("task.name", Variable::TaskName),
];

/// Namespaces of the format that this release does not fill in.
const LATER: [&str; 8] = ["param", "peer", "leader", "secret", "kv", "arg", "backup", "array"];

impl Template {
    /// As it was written.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The text with everything filled in.
    #[must_use]
    pub fn fill(&self, mut value: impl FnMut(&Variable) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.clone(),
                Part::Variable(variable) => value(variable),
            })
            .collect()
    }

    pub(super) fn read(
        raw: &str,
        path: &str,
        scope: &Scope<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        if raw.contains('\0') {
            problems.add(path, "the text holds a zero byte", "remove it");
            return None;
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = raw;
        let mut unknown = false;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = from.get(2..).unwrap_or("");
                continue;
            }
            literal.push_str(before);
            let Some(end) = from.find('}') else {
                problems.add(
                    path,
                    "\"${\" without \"}\"",
                    "close it, or write $${ for the two characters",
                );
                return None;
            };
            let name = from.get(2..end).unwrap_or("");
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            match variable(name, path, scope, problems) {
                Some(variable) => parts.push(Part::Variable(variable)),
                None => unknown = true,
            }
            rest = from.get(end + 1..).unwrap_or("");
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        (!unknown).then(|| Self { raw: raw.to_owned(), parts })
    }
}

fn variable(
    name: &str,
    path: &str,
    scope: &Scope<'_>,
    problems: &mut Problems,
) -> Option<Variable> {
    if let Some((_, variable)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return Some(variable.clone());
    }
    let (namespace, key) = name.split_once('.').unwrap_or((name, ""));
    match namespace {
        "port" if scope.ports.contains(&key) => return Some(Variable::Port(key.to_owned())),
        "volume" if scope.volumes.contains(&key) => return Some(Variable::Volume(key.to_owned())),
        _ if LATER.contains(&namespace) => {
            problems.unsupported(path, &format!("${{{name}}}"), "write the value itself");
            return None;
        },
        _ => {},
    }
    let mut known: Vec<String> = FIXED.iter().map(|(fixed, _)| (*fixed).to_owned()).collect();
    known.extend(scope.ports.iter().map(|port| format!("port.{port}")));
    known.extend(scope.volumes.iter().map(|volume| format!("volume.{volume}")));
    let remedy = match nearest(name, known.iter().map(String::as_str)) {
        Some(name) => format!("did you mean ${{{name}}}? write $${{ for a literal ${{"),
        None => format!("known: {}; write $${{ for a literal ${{", known.join(", ")),
    };
    problems.add(path, format!("unknown variable ${{{name}}}"), remedy);
    None
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.raw, f)
    }
}
