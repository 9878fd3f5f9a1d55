//! Who runs this command, as the machine says: a claim, since nothing proves it to the master.

use berth_model::audit::{Who, check_name};
use nix::unistd::{Uid, User, gethostname};
use std::sync::Arc;

/// `user@host`; the user's number where it has no name.
pub(crate) fn who() -> Who {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let user = user.unwrap_or_else(|| uid.to_string());
    let host = gethostname().ok().and_then(|host| host.into_string().ok());
    let name = match host {
        Some(host) if !host.is_empty() => format!("{user}@{host}"),
        Some(_) | None => user,
    };
    match check_name(&name) {
        Ok(()) => Who::Claimed(Arc::from(name)),
        Err(_) => Who::Unknown,
    }
}
