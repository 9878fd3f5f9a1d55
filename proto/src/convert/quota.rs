//! Quota: what operators ask for, what the registry holds, what the master shows.

use super::field;
use super::{At, Wire};
use crate::v1;
use crate::v1::quota_amount;
use crate::v1::submit_request as submit;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::operator::Request;
use berth_model::quota::{self, Amounts, Counted, Quota, QuotaRequest};
use berth_model::resources::Name;
use berth_model::units::{Scalar, Timestamp};
use berth_model::view::{QuotaUse, QuotaView};

impl Wire for (Counted, Scalar) {
    type Message = v1::QuotaAmount;

    fn to_wire(&self) -> v1::QuotaAmount {
        let (counted, amount) = self;
        let counted = match counted {
            Counted::All(name) => quota_amount::Counted::Resource(name.to_string()),
            Counted::DiskOf(profile) => quota_amount::Counted::DiskProfile(profile.to_string()),
        };
        v1::QuotaAmount { counted: Some(counted), amount_milli: amount.milli() }
    }

    fn from_wire(message: v1::QuotaAmount, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::QuotaAmount { counted, amount_milli } = message;
        let counted = match counted.ok_or_else(|| at.field("counted").missing())? {
            quota_amount::Counted::Resource(name) => {
                Counted::All(Name::new(&field::filled(name, &at.field("resource"))?))
            },
            quota_amount::Counted::DiskProfile(profile) => {
                Counted::DiskOf(field::id(&profile, &at.field("disk_profile"))?)
            },
        };
        Ok((counted, Scalar::from_milli(amount_milli)))
    }
}

fn amounts_to_wire(amounts: &Amounts) -> Vec<v1::QuotaAmount> {
    amounts.iter().map(|(counted, amount)| (counted.clone(), *amount).to_wire()).collect()
}

fn amounts(messages: Vec<v1::QuotaAmount>, at: &At<'_>) -> Result<Amounts, Rejection> {
    field::count(messages.len(), at)?;
    let mut found = Amounts::new();
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        let (counted, amount) = <(Counted, Scalar)>::from_wire(message, &at)?;
        if let Some(_twice) = found.insert(counted.clone(), amount) {
            let problem = format!("{counted} is given twice");
            return Err(at.refuse(ErrorCode::InvalidQuota, problem, "give each resource once"));
        }
    }
    Ok(found)
}

impl Wire for Quota {
    type Message = v1::Quota;

    fn to_wire(&self) -> v1::Quota {
        let Self { role, guarantees, limits, changed, operation } = self;
        v1::Quota {
            role: role.to_string(),
            guarantees: amounts_to_wire(guarantees),
            limits: amounts_to_wire(limits),
            changed_ms: changed.ms(),
            operation_id: operation.to_string(),
        }
    }

    fn from_wire(message: v1::Quota, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Quota { role, guarantees, limits, changed_ms, operation_id } = message;
        Ok(Self {
            role: field::owner(&role, &at.field("role"))?,
            guarantees: amounts(guarantees, &at.field("guarantees"))?,
            limits: amounts(limits, &at.field("limits"))?,
            changed: Timestamp::from_ms(changed_ms),
            operation: field::id(&operation_id, &at.field("operation_id"))?,
        })
    }
}

impl Wire for QuotaUse {
    type Message = v1::QuotaUse;

    fn to_wire(&self) -> v1::QuotaUse {
        let Self { counted, guarantee, limit, consumed, offered, capacity } = self;
        v1::QuotaUse {
            consumed: Some((counted.clone(), *consumed).to_wire()),
            guarantee_milli: guarantee.map(Scalar::milli),
            limit_milli: limit.map(Scalar::milli),
            offered_milli: offered.milli(),
            capacity_milli: capacity.milli(),
        }
    }

    fn from_wire(message: v1::QuotaUse, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::QuotaUse { consumed, guarantee_milli, limit_milli, offered_milli, capacity_milli } =
            message;
        let (counted, consumed) = field::required(consumed, &at.field("consumed"))?;
        Ok(Self {
            counted,
            guarantee: guarantee_milli.map(Scalar::from_milli),
            limit: limit_milli.map(Scalar::from_milli),
            consumed,
            offered: Scalar::from_milli(offered_milli),
            capacity: Scalar::from_milli(capacity_milli),
        })
    }
}

impl Wire for QuotaView {
    type Message = v1::QuotaView;

    fn to_wire(&self) -> v1::QuotaView {
        let Self { role, quota, uses } = self;
        v1::QuotaView {
            role: role.to_string(),
            quota: quota.as_ref().map(Wire::to_wire),
            uses: field::messages(uses),
        }
    }

    fn from_wire(message: v1::QuotaView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::QuotaView { role, quota, uses } = message;
        Ok(Self {
            role: field::role(&role, &at.field("role"))?,
            quota: field::optional(quota, &at.field("quota"))?,
            uses: field::list(uses, &at.field("uses"))?,
        })
    }
}

pub(super) fn request_to_wire(request: &QuotaRequest) -> submit::Request {
    match request {
        QuotaRequest::Set { role, guarantees, limits, force } => {
            submit::Request::SetQuota(submit::SetQuota {
                role: role.to_string(),
                guarantees: amounts_to_wire(guarantees),
                limits: amounts_to_wire(limits),
                force: *force,
            })
        },
        QuotaRequest::Unset { role } => {
            submit::Request::UnsetQuota(submit::UnsetQuota { role: role.to_string() })
        },
    }
}

fn refuse(error: &quota::QuotaError, at: &At<'_>) -> Rejection {
    let Rejection { code, message, remedy, field } = error.rejection();
    at.field(&field).refuse(code, message, &remedy)
}

pub(super) fn set(message: submit::SetQuota, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::SetQuota { role, guarantees, limits, force } = message;
    let role = field::role(&role, &at.field("role"))?;
    let guarantees = amounts(guarantees, &at.field("guarantees"))?;
    let limits = amounts(limits, &at.field("limits"))?;
    quota::check(&role, &guarantees, &limits).map_err(|error| refuse(&error, at))?;
    Ok(Request::Quota(QuotaRequest::Set { role, guarantees, limits, force }))
}

pub(super) fn unset(message: &submit::UnsetQuota, at: &At<'_>) -> Result<Request, Rejection> {
    let role = field::role(&message.role, &at.field("role"))?;
    quota::check_role(&role).map_err(|error| refuse(&error, at))?;
    Ok(Request::Quota(QuotaRequest::Unset { role }))
}
