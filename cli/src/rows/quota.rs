//! Quota of roles, and how roles stand.

use super::age;
use crate::output::{Cell, Row};
use berth_model::quota::{Amounts, Counted, Quota, show_amounts};
use berth_model::units::{Bytes, Scalar, Timestamp};
use berth_model::view::{QuotaUse, QuotaView};
use serde::Serialize;
use std::collections::BTreeMap;

/// An amount as JSON has it: bytes of memory and disk, numbers of anything else.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    Bytes(u64),
    Number(f64),
}

impl Amount {
    pub(crate) fn of(counted: &Counted, amount: Scalar) -> Self {
        match counted.is_space() {
            true => Self::Bytes(Bytes::from_scalar(amount).get()),
            false => Self::Number(amount.to_string().parse().unwrap_or_default()),
        }
    }
}

fn amounts(amounts: &Amounts) -> BTreeMap<String, Amount> {
    let pair = |(counted, amount): (&Counted, &Scalar)| {
        (counted.to_string(), Amount::of(counted, *amount))
    };
    amounts.iter().map(pair).collect()
}

/// The quota of one role.
#[derive(Debug, Serialize)]
pub(crate) struct QuotaRow {
    pub(crate) role: String,
    /// By resource; bytes of memory and disk.
    pub(crate) guarantees: BTreeMap<String, Amount>,
    /// By resource; bytes of memory and disk.
    pub(crate) limits: BTreeMap<String, Amount>,
    pub(crate) changed_ms: u64,
    pub(crate) operation: String,
    #[serde(skip)]
    shown: [String; 2],
    #[serde(skip)]
    now: Timestamp,
}

impl QuotaRow {
    pub(crate) fn new(quota: &Quota, now: Timestamp) -> Option<Self> {
        let Quota { role, guarantees, limits, changed, operation } = quota;
        Some(Self {
            role: role.to_string(),
            guarantees: amounts(guarantees),
            limits: amounts(limits),
            changed_ms: changed.ms(),
            operation: operation.to_string(),
            shown: [show_amounts(guarantees), show_amounts(limits)],
            now,
        })
    }
}

impl Row for QuotaRow {
    const COLUMNS: &'static [&'static str] = &["ROLE", "GUARANTEES", "LIMITS", "AGE", "OPERATION"];
    const NARROW: usize = 4;
    fn cells(&self) -> Vec<Cell> {
        let [guarantees, limits] = &self.shown;
        vec![
            Cell::text(&self.role),
            Cell::text(guarantees),
            Cell::text(limits),
            Cell::text(age(self.now, self.changed_ms)),
            Cell::text(&self.operation),
        ]
    }
    fn name(&self) -> String {
        self.role.clone()
    }
}

/// What one role has of one resource.
#[derive(Debug, Serialize)]
pub(crate) struct QuotaUseRow {
    pub(crate) role: String,
    pub(crate) resource: String,
    /// `bytes` of memory and disk, else `number`: of all amounts of this row.
    pub(crate) unit: &'static str,
    pub(crate) guarantee: Option<Amount>,
    pub(crate) limit: Option<Amount>,
    /// Reserved to the role and those below it, or unreserved in their tasks.
    pub(crate) consumed: Amount,
    /// Unreserved, in offers to them.
    pub(crate) offered: Amount,
    pub(crate) capacity: Amount,
    /// How it stands, in words.
    pub(crate) state: String,
    #[serde(skip)]
    view: QuotaUse,
}

/// How wide a bar is.
const BAR: usize = 20;

/// Consumed `#`, offered `+`, the rest `.`, up to the limit, or to the capacity where there is none; a `|` stands where the
/// guarantee ends.
fn bar(view: &QuotaUse) -> String {
    let whole = view.limit.unwrap_or(view.capacity).max(view.guarantee.unwrap_or_default());
    let whole = i128::from(whole.milli());
    let cells = |amount: i128| {
        let width = i128::try_from(BAR).unwrap_or_default();
        let filled = if whole > 0 { (amount * width + whole - 1) / whole } else { width };
        if amount > 0 { usize::try_from(filled.min(width)).unwrap_or(BAR) } else { 0 }
    };
    let consumed = i128::from(view.consumed.milli());
    let offered = consumed + i128::from(view.offered.milli());
    let (consumed, offered) = (cells(consumed), cells(offered));
    let mut text: Vec<char> = (0..BAR)
        .map(|at| match at {
            _ if at < consumed => '#',
            _ if at < offered => '+',
            _ => '.',
        })
        .collect();
    let guarantee = view.guarantee.map(|guarantee| cells(i128::from(guarantee.milli())));
    if let Some(at) = guarantee.filter(|at| *at < BAR) {
        text.insert(at, '|');
    }
    format!("[{}]", text.into_iter().collect::<String>())
}

fn state(view: &QuotaUse) -> String {
    let QuotaUse { counted, guarantee, limit, consumed, .. } = view;
    let apart = |a: Scalar, b: Scalar| counted.shown(a.saturating_sub(b));
    match (guarantee, limit) {
        (_, Some(limit)) if consumed > limit => {
            format!("above its limit by {}", apart(*consumed, *limit))
        },
        (_, Some(limit)) if consumed == limit => "at its limit".to_owned(),
        (Some(guarantee), _) if consumed < guarantee => {
            format!("below its guarantee by {}", apart(*guarantee, *consumed))
        },
        (_, Some(limit)) => format!("below its limit by {}", apart(*limit, *consumed)),
        (Some(guarantee), None) if consumed == guarantee => "has its guarantee".to_owned(),
        (Some(guarantee), None) => {
            format!("has its guarantee and {} more", apart(*consumed, *guarantee))
        },
        (None, None) => "no quota".to_owned(),
    }
}

impl QuotaUseRow {
    pub(crate) fn of(views: &[QuotaView]) -> Vec<Self> {
        let rows = views.iter().flat_map(|view| view.uses.iter().map(|u| Self::new(view, u)));
        rows.collect()
    }
    fn new(of: &QuotaView, view: &QuotaUse) -> Self {
        let counted = &view.counted;
        let amount = |amount: Scalar| Amount::of(counted, amount);
        Self {
            role: of.role.to_string(),
            resource: counted.to_string(),
            unit: if counted.is_space() { "bytes" } else { "number" },
            guarantee: view.guarantee.map(amount),
            limit: view.limit.map(amount),
            consumed: amount(view.consumed),
            offered: amount(view.offered),
            capacity: amount(view.capacity),
            state: state(view),
            view: view.clone(),
        }
    }
}

impl Row for QuotaUseRow {
    const COLUMNS: &'static [&'static str] = &[
        "ROLE",
        "RESOURCE",
        "GUARANTEE",
        "LIMIT",
        "CONSUMED",
        "OFFERED",
        "BAR",
        "STATE",
        "CAPACITY",
    ];
    const NARROW: usize = 8;
    fn cells(&self) -> Vec<Cell> {
        let view = &self.view;
        let shown = |amount: Scalar| Cell::text(view.counted.shown(amount));
        let maybe = |amount: Option<Scalar>| Cell::maybe(amount.map(|a| view.counted.shown(a)));
        let state = match view.limit {
            Some(limit) if view.consumed > limit => Cell::Bad(self.state.clone()),
            _ if view.guarantee.is_some_and(|guarantee| view.consumed < guarantee) => {
                Cell::Pending(self.state.clone())
            },
            Some(_) | None => Cell::text(&self.state),
        };
        vec![
            Cell::text(&self.role),
            Cell::text(&self.resource),
            maybe(view.guarantee),
            maybe(view.limit),
            shown(view.consumed),
            shown(view.offered),
            Cell::text(bar(view)),
            state,
            shown(view.capacity),
        ]
    }
    fn name(&self) -> String {
        format!("{} {}", self.role, self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::resources::Name;

    fn standing(guarantee: Option<i64>, limit: Option<i64>, has: i64, offered: i64) -> QuotaUse {
        let cpus = |units: i64| Scalar::from_milli(units * 1_000);
        QuotaUse {
            counted: Counted::All(Name::Cpus),
            guarantee: guarantee.map(cpus),
            limit: limit.map(cpus),
            consumed: cpus(has),
            offered: cpus(offered),
            capacity: cpus(40),
        }
    }

    #[test]
    fn a_bar_and_words_say_how_a_role_stands() {
        for (view, bars, words) in [
            (standing(None, None, 10, 10), "[#####+++++..........]", "no quota"),
            (standing(None, Some(20), 0, 0), "[....................]", "below its limit by 20"),
            (standing(None, Some(20), 20, 0), "[####################]", "at its limit"),
            (standing(None, Some(20), 25, 1), "[####################]", "above its limit by 5"),
            (standing(None, Some(0), 0, 0), "[....................]", "at its limit"),
            (
                standing(Some(10), Some(20), 4, 2),
                "[####++....|..........]",
                "below its guarantee by 6",
            ),
            (
                standing(Some(10), Some(20), 12, 0),
                "[##########|##........]",
                "below its limit by 8",
            ),
            (standing(Some(10), None, 10, 0), "[#####|...............]", "has its guarantee"),
            (
                standing(Some(10), None, 12, 0),
                "[#####|#..............]",
                "has its guarantee and 2 more",
            ),
            (standing(Some(80), None, 1, 0), "[#...................]", "below its guarantee by 79"),
        ] {
            assert_eq!((bar(&view).as_str(), state(&view).as_str()), (bars, words), "{view:?}");
        }
    }
}
