//! How agents stand to a framework.

use super::{Amount, age, cut};
use crate::output::{Cell, Row};
use berth_model::explain::{Explanation, Fix, LeftOut, Short, Verdict};
use berth_model::units::Timestamp;
use serde::Serialize;

/// Too little of something.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ShortRow {
    pub(crate) resource: String,
    /// Bytes of memory and disk.
    pub(crate) want: Amount,
    pub(crate) have: Amount,
}

impl From<&Short> for ShortRow {
    fn from(short: &Short) -> Self {
        let Short { counted, want, have } = short;
        let (want, have) = (Amount::of(counted, *want), Amount::of(counted, *have));
        Self { resource: counted.to_string(), want, have }
    }
}

/// What would change it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FixRow {
    pub(crate) what: String,
    pub(crate) command: String,
}

impl From<&Fix> for FixRow {
    fn from(fix: &Fix) -> Self {
        Self { what: fix.what.clone(), command: fix.command.clone() }
    }
}

/// One agent in one role of a framework.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExplainRow {
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) role: String,
    /// OFFERED, DUE (the next look at the agent offers it) or LEFT_OUT.
    pub(crate) state: &'static str,
    pub(crate) offer: Option<String>,
    /// Of OFFERED since when, of DUE when.
    pub(crate) at_ms: Option<u64>,
    /// One word for programs: the first thing that left the framework out.
    pub(crate) reason: Option<&'static str>,
    /// In words.
    pub(crate) message: String,
    /// What is particular to this agent.
    pub(crate) detail: String,
    pub(crate) short: Vec<ShortRow>,
    pub(crate) fix: Option<FixRow>,
    #[serde(skip)]
    pub(crate) cost: Option<Fix>,
}

impl ExplainRow {
    pub(crate) fn new(of: &Explanation, now: Timestamp) -> Self {
        let mut row = Self {
            agent_id: of.agent.to_string(),
            hostname: of.hostname.to_string(),
            role: of.role.to_string(),
            state: "OFFERED",
            offer: None,
            at_ms: None,
            reason: None,
            message: String::new(),
            detail: String::new(),
            short: Vec::new(),
            fix: None,
            cost: None,
        };
        match &of.verdict {
            Verdict::Offered { offer, since } => {
                row.offer = Some(offer.to_string());
                row.at_ms = Some(since.ms());
                "offered to it".clone_into(&mut row.message);
                row.detail = format!("offer {offer}, {} ago", age(now, since.ms()));
            },
            Verdict::Due(at) => {
                row.state = "DUE";
                row.at_ms = at.map(Timestamp::ms);
                "offered to it at the next look, which is about to come"
                    .clone_into(&mut row.message);
            },
            Verdict::LeftOut(left) => {
                let LeftOut { reason, short } = left;
                row.state = "LEFT_OUT";
                row.reason = Some(reason.code());
                row.message = reason.text();
                row.detail = left.detail(now);
                row.short = short.iter().map(ShortRow::from).collect();
                row.cost = reason.fix(of, now);
                row.fix = row.cost.as_ref().map(FixRow::from);
            },
        }
        row
    }
    /// The host with what is particular to it.
    pub(crate) fn host(&self) -> String {
        if self.detail.is_empty() {
            return self.hostname.clone();
        }
        format!("{} ({})", self.hostname, self.detail)
    }
}

impl Row for ExplainRow {
    const COLUMNS: &'static [&'static str] =
        &["HOST", "ROLE", "STATE", "REASON", "DETAIL", "AGENT"];
    const NARROW: usize = 5;
    fn cells(&self) -> Vec<Cell> {
        let state = match self.state {
            "OFFERED" => Cell::Good(self.state.to_owned()),
            _not_yet => Cell::Pending(self.state.to_owned()),
        };
        vec![
            Cell::text(&self.hostname),
            Cell::text(&self.role),
            state,
            Cell::text(cut(&self.message, 60)),
            Cell::text(&self.detail),
            Cell::text(&self.agent_id),
        ]
    }
    fn name(&self) -> String {
        self.hostname.clone()
    }
}
