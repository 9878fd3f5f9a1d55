//! What the operator says of roles.

use crate::dice::Dice;
use crate::sight::Sight;
use berth_model::operator::Request;
use berth_model::role::Role;
use berth_model::weight::Weight;

/// Top-level roles and some below them; nobody says anything of the service's own, since it has to succeed in the end.
const ROLES: [&str; 6] = ["stores", "stores/db", "web", "ops", "unused", "*"];

/// Something about a role.
pub(crate) fn wish(dice: &mut Dice, _sight: &Sight) -> Request {
    let role = Role::new(ROLES[dice.below(ROLES.len())]).expect("a good role");
    let milli = [1, 500, 1_000, 2_000, 1_000_000_000][dice.below(5)];
    let weight = Weight::from_milli(milli).expect("a good weight");
    Request::SetWeight { role, weight }
}
