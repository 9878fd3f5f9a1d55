//! Views of the books, as lists show them. The registry's current revision is known to the shell only;
//! the cluster's row carries the one the term began with.

use crate::state::State;
use berth_model::offer::Offer;
use berth_model::operation::OperationRecord;
use berth_model::view::{
    AgentView, ClusterView, FrameworkView, ReservationView, RoleView, TaskView, VolumeView,
};

/// The cluster, always one row.
#[must_use]
pub fn clusters(state: &State) -> Vec<ClusterView> {
    vec![ClusterView {
        cluster: state.config.cluster,
        epoch: state.config.epoch,
        revision: state.config.revision,
        version: state.config.version.clone(),
        safe_mode: None,
        agents_registered: 0,
        agents_total: 0,
        frameworks_connected: 0,
    }]
}
/// The agents.
#[must_use]
pub fn agents(_state: &State) -> Vec<AgentView> {
    Vec::new()
}
/// The rows of reservations.
#[must_use]
pub fn reservations(_state: &State) -> Vec<ReservationView> {
    Vec::new()
}
/// The volumes.
#[must_use]
pub fn volumes(_state: &State) -> Vec<VolumeView> {
    Vec::new()
}
/// The frameworks, removed ones too.
#[must_use]
pub fn frameworks(_state: &State) -> Vec<FrameworkView> {
    Vec::new()
}
/// The outstanding offers.
#[must_use]
pub fn offers(_state: &State) -> Vec<Offer> {
    Vec::new()
}
/// The tasks, ended ones for a while.
#[must_use]
pub fn tasks(_state: &State) -> Vec<TaskView> {
    Vec::new()
}
/// The operations, ended ones for a while.
#[must_use]
pub fn operations(_state: &State) -> Vec<OperationRecord> {
    Vec::new()
}
/// The roles in use.
#[must_use]
pub fn roles(_state: &State) -> Vec<RoleView> {
    Vec::new()
}
