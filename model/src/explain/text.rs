//! Reasons in words, and what would change them.

use super::{Explanation, LeftOut, Reason, Short};
use crate::units::{Timestamp, format_duration};
use std::fmt;
use std::time::Duration;

/// What would change something, and where to begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fix {
    /// The cheapest first: waiting, asking, starting something, a setting, giving something up, machines.
    pub cost: u8,
    /// In words.
    pub what: String,
    /// The command to begin with.
    pub command: String,
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// How long until then, in whole seconds.
fn left(now: Timestamp, until: Timestamp) -> String {
    let rest = until.since(now) + Duration::from_millis(999);
    format_duration(Duration::from_secs(rest.as_secs()))
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counted, want, have } = self;
        write!(f, "{counted}: {} wanted, {} left", counted.shown(*want), counted.shown(*have))
    }
}

impl Reason {
    /// In words, without what passes with time.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Removed => "the framework was removed".to_owned(),
            Self::Disconnected => "the framework is not connected".to_owned(),
            Self::Suppressed => "the framework wants no offers for the role".to_owned(),
            Self::Away(state) => format!("the agent is {}", state.as_str()),
            Self::Withheld(why) => format!("nothing of the agent is given away: {why}"),
            Self::Awaits { missing, known } => format!(
                "{missing} of {known} agents have not come back since the master started, and something is guaranteed to roles"
            ),
            Self::Small => "the agent has too little".to_owned(),
            Self::Reserved(roles) => format!("reserved for role {}", list(roles)),
            Self::Used => "in use by tasks and volumes".to_owned(),
            Self::Offered(frameworks) => format!("offered to framework {}", list(frameworks)),
            Self::Disks(disks) => {
                format!("what is left lies on a cordoned or faulty disk: {}", list(disks))
            },
            Self::Shared => {
                "only shared volumes are left, which it does not understand or is offered already"
                    .to_owned()
            },
            Self::Kept { role, until: _ } => {
                format!("kept for a while for role {role}, whose task used it")
            },
            Self::Held(frameworks) => {
                format!("held by framework {}, and this role shares nothing", list(frameworks))
            },
            Self::Limit { role, counted, has, limit } => format!(
                "the limit of role {role}: it has {counted}={} of {}",
                counted.shown(*has),
                counted.shown(*limit)
            ),
            Self::Headroom { counted, free, required, roles } => format!(
                "kept for the guarantees of role {}: {counted}={} is lacking, {} is free in all",
                list(roles),
                counted.shown(*required),
                counted.shown(*free)
            ),
            Self::FanOut(frameworks) => {
                format!("framework {} may answer first", list(frameworks))
            },
            Self::Filter { until: _ } => {
                "the framework declined it, and has not asked for it again".to_owned()
            },
            Self::Turn(frameworks) => {
                format!("goes to framework {} first, by share", list(frameworks))
            },
        }
    }

    /// What would change it on this agent.
    #[must_use]
    pub fn fix(&self, of: &Explanation, now: Timestamp) -> Option<Fix> {
        let host = &of.hostname;
        let (cost, what, command) = match self {
            Self::Removed | Self::Shared => return None,
            Self::Turn(_) | Self::FanOut(_) | Self::Held(_) | Self::Offered(_) => (
                1,
                format!("wait until those who are offered {host} have answered"),
                "berth offer list".to_owned(),
            ),
            Self::Awaits { .. } => (
                1,
                "wait for the agents, and start those that stay away".to_owned(),
                "berth agent list".to_owned(),
            ),
            Self::Filter { until } => (
                1,
                format!("wait {}, or make the framework revive", left(now, *until)),
                "berth framework list".to_owned(),
            ),
            Self::Kept { role, until } => (
                1,
                format!("wait {} for role {role} to come back to {host}", left(now, *until)),
                "berth task list --all".to_owned(),
            ),
            Self::Disconnected => {
                (2, "start the framework again".to_owned(), "berth framework list".to_owned())
            },
            Self::Suppressed => {
                (2, "make the framework revive".to_owned(), "berth framework list".to_owned())
            },
            Self::Disks(disks) => {
                let disk = disks.first()?;
                (
                    3,
                    format!("uncordon or repair disk {disk} of {host}"),
                    format!("berth disk show {host}:{disk}"),
                )
            },
            Self::Away(_) => {
                (3, format!("start the agent on {host}"), format!("berth agent show {}", of.agent))
            },
            Self::Limit { role, counted, limit, .. } => (
                4,
                format!("raise the limit of role {role} above {counted}={}", counted.shown(*limit)),
                format!("berth quota show {role}"),
            ),
            Self::Headroom { roles, .. } => {
                let role = roles.first()?;
                (
                    4,
                    "lower guarantees that nobody needs".to_owned(),
                    format!("berth quota usage {role}"),
                )
            },
            Self::Withheld(_) => (
                5,
                format!("give {host} what it declared before, or end tasks on it"),
                format!("berth agent show {}", of.agent),
            ),
            Self::Reserved(roles) => {
                let role = roles.first()?;
                (
                    5,
                    format!("release what role {role} does not use on {host}"),
                    format!("berth reservation list --role {role}"),
                )
            },
            Self::Used => {
                (6, format!("end tasks on {host}, or add an agent"), "berth task list".to_owned())
            },
            Self::Small => (7, "add a larger agent".to_owned(), "berth agent list".to_owned()),
        };
        Some(Fix { cost, what, command })
    }
}

impl LeftOut {
    /// What is particular to one agent: how long it lasts, what is too little.
    #[must_use]
    pub fn detail(&self, now: Timestamp) -> String {
        let lasts = match &self.reason {
            Reason::Filter { until } | Reason::Kept { until, .. } => {
                Some(format!("{} more", left(now, *until)))
            },
            _lasting => None,
        };
        list(lasts.into_iter().chain(self.short.iter().map(ToString::to_string)))
    }
}
