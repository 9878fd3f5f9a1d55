//! Roles.

use super::in_unit;
use crate::output::{Cell, Row};
use berth_model::resources::Name;
use berth_model::role::Role;
use berth_model::units::Scalar;
use berth_model::view::RoleView;
use berth_model::weight::Weight;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A role in use.
#[derive(Debug, Serialize)]
pub(crate) struct RoleRow {
    pub(crate) role: String,
    pub(crate) weight: f64,
    pub(crate) frameworks: Vec<String>,
    pub(crate) reserved: BTreeMap<String, String>,
    /// Unreserved, in its tasks.
    pub(crate) allocated: BTreeMap<String, String>,
    pub(crate) offered: BTreeMap<String, String>,
    /// Reserved or allocated, of it and all roles below it: what quota counts.
    pub(crate) consumed: BTreeMap<String, String>,
    pub(crate) used: BTreeMap<String, String>,
    pub(crate) volumes: u64,
}

/// An amount as JSON has it.
fn number(weight: Weight) -> f64 {
    weight.to_string().parse().unwrap_or_default()
}

fn amounts(map: &BTreeMap<Arc<str>, Scalar>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(name, amount)| (name.to_string(), in_unit(&Name::new(name), *amount)))
        .collect()
}

fn shown(map: &BTreeMap<String, String>) -> String {
    let items: Vec<String> = map.iter().map(|(name, amount)| format!("{name} {amount}")).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

impl RoleRow {
    /// One that nobody uses and that weighs 1.
    pub(crate) fn unused(role: &Role) -> Self {
        Self {
            role: role.to_string(),
            weight: number(Weight::ONE),
            frameworks: Vec::new(),
            reserved: BTreeMap::new(),
            allocated: BTreeMap::new(),
            offered: BTreeMap::new(),
            consumed: BTreeMap::new(),
            used: BTreeMap::new(),
            volumes: 0,
        }
    }
}

impl From<&RoleView> for RoleRow {
    fn from(view: &RoleView) -> Self {
        Self {
            role: view.role.to_string(),
            weight: number(view.weight),
            frameworks: view.frameworks.iter().map(ToString::to_string).collect(),
            reserved: amounts(&view.reserved),
            allocated: amounts(&view.allocated),
            offered: amounts(&view.offered),
            consumed: amounts(&view.consumed),
            used: amounts(&view.used),
            volumes: view.volumes,
        }
    }
}

impl Row for RoleRow {
    const COLUMNS: &'static [&'static str] = &[
        "ROLE",
        "WEIGHT",
        "FRAMEWORKS",
        "RESERVED",
        "ALLOCATED",
        "OFFERED",
        "CONSUMED",
        "VOLUMES",
        "USED",
    ];
    const NARROW: usize = 7;
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.role),
            Cell::text(self.weight),
            Cell::text(self.frameworks.len()),
            Cell::text(shown(&self.reserved)),
            Cell::text(shown(&self.allocated)),
            Cell::text(shown(&self.offered)),
            Cell::text(shown(&self.consumed)),
            Cell::text(self.volumes),
            Cell::text(shown(&self.used)),
        ]
    }
    fn name(&self) -> String {
        self.role.clone()
    }
}

/// A role in its place in the tree.
#[derive(Debug, Serialize)]
pub(crate) struct RoleTreeRow {
    /// How many roles it is below.
    pub(crate) depth: usize,
    /// The role it is a part of.
    pub(crate) parent: Option<String>,
    #[serde(flatten)]
    pub(crate) row: RoleRow,
}

/// The role that this one is directly below.
fn parent(role: &str) -> Option<&str> {
    role.rsplit_once('/').map(|(parent, _)| parent)
}

impl RoleTreeRow {
    /// Each role behind the one it is a part of; those on the way that nobody uses are there too.
    pub(crate) fn tree(views: &[RoleView]) -> Vec<Self> {
        let mut paths: BTreeSet<Vec<&str>> = BTreeSet::new();
        for view in views {
            let parts: Vec<&str> = view.role.as_str().split('/').collect();
            paths
                .extend((1..=parts.len()).filter_map(|length| Some(parts.get(..length)?.to_vec())));
        }
        let place = |path: Vec<&str>| {
            let name = path.join("/");
            let found = views.iter().find(|view| view.role.as_str() == name);
            let unused = || Role::new(&name).map(|role| RoleRow::unused(&role)).ok();
            let row = found.map(RoleRow::from).or_else(unused)?;
            Some(Self { depth: path.len() - 1, parent: parent(&name).map(str::to_owned), row })
        };
        paths.into_iter().filter_map(place).collect()
    }
}

impl Row for RoleTreeRow {
    const COLUMNS: &'static [&'static str] = RoleRow::COLUMNS;
    const NARROW: usize = RoleRow::NARROW;
    fn cells(&self) -> Vec<Cell> {
        let last = self.row.role.rsplit('/').next().unwrap_or_default();
        let mut cells = self.row.cells();
        if let Some(first) = cells.first_mut() {
            *first = Cell::text(format!("{}{last}", "  ".repeat(self.depth)));
        }
        cells
    }
    fn name(&self) -> String {
        self.row.role.clone()
    }
}
