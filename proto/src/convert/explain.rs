//! Why a framework is not offered what agents have.

use super::field::{self, Choice};
use super::{At, Wire};
use crate::v1;
use crate::v1::explanation::{self, Verdict as Shown};
use crate::v1::left_out::{self, Reason as Told};
use berth_model::error::Rejection;
use berth_model::explain::{Explanation, LeftOut, Reason, Short, Verdict};
use berth_model::id::FrameworkId;
use berth_model::units::{Scalar, Timestamp};
use berth_model::view::AgentState;
use std::collections::BTreeSet;

impl Wire for Short {
    type Message = v1::Short;

    fn to_wire(&self) -> v1::Short {
        let Self { counted, want, have } = self;
        v1::Short { want: Some((counted.clone(), *want).to_wire()), have_milli: have.milli() }
    }

    fn from_wire(message: v1::Short, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Short { want, have_milli } = message;
        let (counted, want) = field::required(want, &at.field("want"))?;
        Ok(Self { counted, want, have: Scalar::from_milli(have_milli) })
    }
}

fn others(ids: &BTreeSet<FrameworkId>) -> left_out::ByOthers {
    left_out::ByOthers { framework_ids: ids.iter().map(ToString::to_string).collect() }
}

fn frameworks(
    message: left_out::ByOthers,
    at: &At<'_>,
) -> Result<BTreeSet<FrameworkId>, Rejection> {
    let ids = field::ids(&message.framework_ids, &at.field("framework_ids"))?;
    Ok(ids.into_iter().collect())
}

fn reason_to_wire(reason: &Reason) -> Told {
    match reason {
        Reason::Removed => Told::Removed(left_out::Removed {}),
        Reason::Disconnected => Told::Disconnected(left_out::Disconnected {}),
        Reason::Suppressed => Told::Suppressed(left_out::Suppressed {}),
        Reason::Away(state) => Told::Away(left_out::Away { state: state.number() }),
        Reason::Withheld(why) => Told::Withheld(left_out::Withheld { why: why.clone() }),
        Reason::Awaits { missing, known } => {
            Told::Awaits(left_out::Awaits { missing: *missing, known: *known })
        },
        Reason::Small => Told::Small(left_out::Small {}),
        Reason::Reserved(roles) => {
            Told::Reserved(left_out::Reserved { roles: field::role_texts(roles) })
        },
        Reason::Used => Told::Used(left_out::Used {}),
        Reason::Offered(ids) => Told::Offered(others(ids)),
        Reason::Disks(names) => {
            let names = names.iter().map(ToString::to_string).collect();
            Told::Disks(left_out::Disks { names })
        },
        Reason::Shared => Told::Shared(left_out::Shared {}),
        Reason::Kept { role, until } => {
            Told::Kept(left_out::Kept { role: role.to_string(), until_ms: until.ms() })
        },
        Reason::Held(ids) => Told::Held(others(ids)),
        Reason::Limit { role, counted, has, limit } => Told::Limit(left_out::Limit {
            role: role.to_string(),
            has: Some((counted.clone(), *has).to_wire()),
            limit_milli: limit.milli(),
        }),
        Reason::Headroom { counted, free, required, roles } => Told::Headroom(left_out::Headroom {
            free: Some((counted.clone(), *free).to_wire()),
            required_milli: required.milli(),
            roles: field::role_texts(roles),
        }),
        Reason::FanOut(ids) => Told::FanOut(others(ids)),
        Reason::Filter { until } => Told::Filter(left_out::Filter { until_ms: until.ms() }),
        Reason::Turn(ids) => Told::Turn(others(ids)),
    }
}

fn reason(told: Told, at: &At<'_>) -> Result<Reason, Rejection> {
    let time = Timestamp::from_ms;
    Ok(match told {
        Told::Removed(left_out::Removed {}) => Reason::Removed,
        Told::Disconnected(left_out::Disconnected {}) => Reason::Disconnected,
        Told::Suppressed(left_out::Suppressed {}) => Reason::Suppressed,
        Told::Away(left_out::Away { state }) => {
            Reason::Away(AgentState::read(state, &at.field("state"))?)
        },
        Told::Withheld(left_out::Withheld { why }) => {
            Reason::Withheld(field::text(why, &at.field("why"))?)
        },
        Told::Awaits(left_out::Awaits { missing, known }) => Reason::Awaits { missing, known },
        Told::Small(left_out::Small {}) => Reason::Small,
        Told::Reserved(left_out::Reserved { roles }) => {
            Reason::Reserved(field::roles(&roles, &at.field("roles"))?)
        },
        Told::Used(left_out::Used {}) => Reason::Used,
        Told::Offered(ids) => Reason::Offered(frameworks(ids, at)?),
        Told::Disks(left_out::Disks { names }) => {
            let names = field::texts(names, &at.field("names"))?;
            Reason::Disks(names.into_iter().map(Into::into).collect())
        },
        Told::Shared(left_out::Shared {}) => Reason::Shared,
        Told::Kept(left_out::Kept { role, until_ms }) => {
            Reason::Kept { role: field::role(&role, &at.field("role"))?, until: time(until_ms) }
        },
        Told::Held(ids) => Reason::Held(frameworks(ids, at)?),
        Told::Limit(left_out::Limit { role, has, limit_milli }) => {
            let (counted, has) = field::required(has, &at.field("has"))?;
            let role = field::role(&role, &at.field("role"))?;
            Reason::Limit { role, counted, has, limit: Scalar::from_milli(limit_milli) }
        },
        Told::Headroom(left_out::Headroom { free, required_milli, roles }) => {
            let (counted, free) = field::required(free, &at.field("free"))?;
            let roles = field::roles(&roles, &at.field("roles"))?;
            Reason::Headroom { counted, free, required: Scalar::from_milli(required_milli), roles }
        },
        Told::FanOut(ids) => Reason::FanOut(frameworks(ids, at)?),
        Told::Filter(left_out::Filter { until_ms }) => Reason::Filter { until: time(until_ms) },
        Told::Turn(ids) => Reason::Turn(frameworks(ids, at)?),
    })
}

impl Wire for LeftOut {
    type Message = v1::LeftOut;

    fn to_wire(&self) -> v1::LeftOut {
        let Self { reason, short } = self;
        v1::LeftOut { short: field::messages(short), reason: Some(reason_to_wire(reason)) }
    }

    fn from_wire(message: v1::LeftOut, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::LeftOut { short, reason: told } = message;
        let at_reason = at.field("reason");
        Ok(Self {
            reason: reason(told.ok_or_else(|| at_reason.missing())?, &at_reason)?,
            short: field::list(short, &at.field("short"))?,
        })
    }
}

impl Wire for Explanation {
    type Message = v1::Explanation;

    fn to_wire(&self) -> v1::Explanation {
        let Self { agent, hostname, role, verdict } = self;
        let verdict = match verdict {
            Verdict::Offered { offer, since } => Shown::Offered(explanation::Offered {
                offer_id: offer.to_string(),
                since_ms: since.ms(),
            }),
            Verdict::Due(at) => Shown::Due(explanation::Due { at_ms: at.map(Timestamp::ms) }),
            Verdict::LeftOut(left) => Shown::LeftOut(left.to_wire()),
        };
        v1::Explanation {
            agent_id: agent.to_string(),
            hostname: hostname.to_string(),
            role: role.to_string(),
            verdict: Some(verdict),
        }
    }

    fn from_wire(message: v1::Explanation, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Explanation { agent_id, hostname, role, verdict } = message;
        let verdict = match verdict.ok_or_else(|| at.field("verdict").missing())? {
            Shown::Offered(explanation::Offered { offer_id, since_ms }) => Verdict::Offered {
                offer: field::id(&offer_id, &at.field("offer_id"))?,
                since: Timestamp::from_ms(since_ms),
            },
            Shown::Due(explanation::Due { at_ms }) => Verdict::Due(field::point(at_ms)),
            Shown::LeftOut(left) => {
                Verdict::LeftOut(LeftOut::from_wire(left, &at.field("left_out"))?)
            },
        };
        Ok(Self {
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            hostname: field::arc(hostname, &at.field("hostname"))?,
            role: field::role(&role, &at.field("role"))?,
            verdict,
        })
    }
}
