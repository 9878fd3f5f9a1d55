//! What a volume with content from outside needs besides room.

use super::room::Wish;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::DiskSource;
use berth_model::snapshot::Origin;

/// A directory is on one machine.
pub(super) fn check_agent(wish: &Wish<'_>) -> Result<(), Rejection> {
    if let (None, Some(Origin::Directory { path })) = (wish.agent, wish.origin) {
        let text = format!("volume {}: no agent is named that has {path}", wish.name);
        return Err(Rejection::new(ErrorCode::InvalidArgument, text)
            .remedy("name the agent on whose machine the directory is")
            .field("agent_id"));
    }
    Ok(())
}

/// Content from outside is files, which a raw device cannot hold.
pub(super) fn takes(wish: &Wish<'_>, source: &DiskSource) -> Result<(), Rejection> {
    let imports = wish.origin.is_some_and(Origin::is_import);
    if !imports || !matches!(source, DiskSource::Block(_)) {
        return Ok(());
    }
    let text = format!("volume {}: disk {source} is a raw device and holds no files", wish.name);
    Err(Rejection::new(ErrorCode::Unsupported, text).remedy("choose another disk").field("disk"))
}
