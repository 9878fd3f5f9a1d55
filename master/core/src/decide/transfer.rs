//! What agents are asked to dial another stream for. Nothing changes by it, and nothing of it is remembered.

use super::export;
use crate::state::State;
use berth_model::error::Rejection;
use berth_model::id::AgentId;
use berth_model::transfer::{TransferOrder, TransferWish};

/// Which agent has to dial, and what for.
pub(crate) fn order(
    state: &State,
    wish: &TransferWish,
) -> Result<(AgentId, TransferOrder), Rejection> {
    match wish {
        TransferWish::Survey { agent, path, size } => {
            let agent = state.connected_agent(*agent)?.info.id;
            Ok((agent, TransferOrder::Survey { path: path.clone(), size: *size }))
        },
        TransferWish::Export { operation } => export::order(state, *operation),
    }
}
