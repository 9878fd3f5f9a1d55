//! What the operator says of roles.

use crate::dice::Dice;
use crate::sight::Sight;
use berth_model::operator::Request;
use berth_model::quota::{Amounts, QuotaRequest, parse_amounts};
use berth_model::role::Role;
use berth_model::weight::Weight;

/// Top-level roles and some below them; nobody says anything of the service's own, since it has to succeed in the end.
const ROLES: [&str; 6] = ["stores", "web", "ops", "unused", "stores/db", "*"];

fn role(dice: &mut Dice) -> Role {
    Role::new(ROLES[dice.below(ROLES.len())]).expect("a good role")
}

/// Some that fit, some that do not, one by a profile that is not there.
fn amounts(dice: &mut Dice) -> Amounts {
    let all = [
        "disk=512MiB",
        "disk=2GiB,mem=1GiB",
        "disk=64GiB",
        "cpus=1",
        "cpus=8,mem=64GiB",
        "disk=0",
        "disk=9TiB",
        "disk[none]=1GiB",
    ];
    parse_amounts(all[dice.below(all.len())]).expect("good amounts")
}

/// Something about a role: its weight, or its quota. Quotas go about as often as they come, legal ones and others.
pub(crate) fn wish(dice: &mut Dice, sight: &Sight) -> Request {
    match dice.below(4) {
        0 => {
            let milli = [1, 500, 1_000, 2_000, 1_000_000_000][dice.below(5)];
            let weight = Weight::from_milli(milli).expect("a good weight");
            Request::SetWeight { role: role(dice), weight }
        },
        1 => {
            let known = dice.pick(&sight.quotas).cloned();
            Request::Quota(QuotaRequest::Unset { role: known.unwrap_or_else(|| role(dice)) })
        },
        _ => {
            let guarantees = if dice.flip() { amounts(dice) } else { Amounts::new() };
            let limits = if dice.flip() { amounts(dice) } else { Amounts::new() };
            let (role, force) = (role(dice), dice.flip());
            Request::Quota(QuotaRequest::Set { role, guarantees, limits, force })
        },
    }
}
