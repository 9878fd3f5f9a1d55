//! Quota of a small cluster: what is asked for, and an agent with disks of two kinds.

use super::{Stage, agent_id, info, mib, op, role, session};
use berth_master_core::query;
use berth_model::agent::{AgentInfo, Disk, Media};
use berth_model::disk::{DiskProfile, HealthWish, ProfileRequest};
use berth_model::error::Rejection;
use berth_model::id::{DiskId, ProfileName};
use berth_model::operator::Request;
use berth_model::quota::{Amounts, QuotaRequest, parse_amounts};
use berth_model::resources::{DiskSource, Resource};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the agent has beside its second disk.
pub const MACHINE: &str = "cpus:4;mem:4096;disk:10240";
/// The disk that does not turn.
pub const OTHER_DISK: DiskId = DiskId::from_u128(0xd1);

/// Amounts as operators write them; nothing is none.
pub fn amounts(text: &str) -> Amounts {
    if text.is_empty() { Amounts::new() } else { parse_amounts(text).unwrap() }
}
/// A quota of these guarantees and limits.
pub fn set(of: &str, guarantees: &str, limits: &str) -> Request {
    let (guarantees, limits) = (amounts(guarantees), amounts(limits));
    Request::Quota(QuotaRequest::Set { role: role(of), guarantees, limits, force: false })
}
/// The same by force.
pub fn forced(request: Request) -> Request {
    match request {
        Request::Quota(QuotaRequest::Set { role, guarantees, limits, .. }) => {
            Request::Quota(QuotaRequest::Set { role, guarantees, limits, force: true })
        },
        other => other,
    }
}
/// No quota any more.
pub fn unset(of: &str) -> Request {
    Request::Quota(QuotaRequest::Unset { role: role(of) })
}
/// It is done; what was noted.
pub fn done(stage: &mut Stage, request: Request) -> Vec<String> {
    let id = stage.fresh();
    assert_eq!(stage.operator(id, request).0, Ok(op(id)));
    query::operation(stage.master.state(), op(id)).unwrap().notes.clone()
}
/// Refused, and nothing has changed.
pub fn refused(stage: &mut Stage, request: Request) -> Rejection {
    let (before, id) = (stage.registry.clone(), stage.fresh());
    let (answer, step) = stage.operator(id, request);
    assert_eq!((step.writes.len(), &stage.registry), (0, &before));
    answer.unwrap_err()
}
/// An agent with a ROOT disk that turns and another one that does not.
pub fn two_disks() -> AgentInfo {
    let mut info = info(agent_id(1), MACHINE);
    let source = DiskSource::Path(Arc::from("/srv/d1"));
    info.disks.push(Disk {
        id: OTHER_DISK,
        name: Arc::from("d1"),
        source: source.clone(),
        root: Arc::from("/srv/d1"),
        size: mib(4096),
        free: mib(4096),
        media: Media::Ssd,
        ..info.disks[0].clone()
    });
    info.declared.add(&Resource::disk(source, mib(4096).to_scalar().unwrap())).unwrap();
    info
}
/// The profile of disks that do not turn.
pub fn ssd() -> ProfileName {
    ProfileName::new("ssd").unwrap()
}
/// Which those are.
pub fn profile() -> Request {
    Request::Profile(ProfileRequest::Create(DiskProfile {
        name: ssd(),
        media: BTreeSet::from([Media::Ssd]),
        size_min: None,
        size_max: None,
        labels: BTreeMap::new(),
        health: HealthWish::Ok,
    }))
}
/// The agent and the profile.
pub fn with_ssd() -> Stage {
    let mut stage = Stage::new();
    let registration = stage.registration(two_disks(), session(1));
    stage.register_as(registration);
    done(&mut stage, profile());
    stage
}
