//! Roles: who uses them, what they have, what they weigh.

use crate::args::{Act, Role, Trial};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Show};
use crate::rows::{RoleRow, RoleTreeRow};
use crate::verbs::operation;
use berth_model::error::ErrorCode;
use berth_model::operator::Request;
use berth_model::role::Role as RoleName;
use berth_model::view::RoleView;
use berth_model::weight::Weight;

pub(crate) async fn run(command: &Role) -> Result<(), Failure> {
    match command {
        Role::List(read) => {
            let views = Client::connect(&read.connect).await?.roles().await?;
            let rows: Vec<RoleRow> = views.iter().map(RoleRow::from).collect();
            output::list(&rows, &read.show)
        },
        Role::Tree(read) => {
            let views = Client::connect(&read.connect).await?.roles().await?;
            output::list(&RoleTreeRow::tree(&views), &read.show)
        },
        Role::Show { role, read } => {
            let views = Client::connect(&read.connect).await?.roles().await?;
            let found = views.iter().find(|view| view.role.as_str() == role).ok_or_else(|| {
                Failure::not_found(
                    ErrorCode::InvalidRole,
                    format!("role {role} is not in use"),
                    "see `berth role list`",
                )
            })?;
            output::one(&RoleRow::from(found), &read.show)
        },
        Role::Set { role, weight, trial } => set(role, *weight, trial).await,
    }
}

async fn set(role: &RoleName, weight: Weight, trial: &Trial) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = trial;
    let client = Client::connect(&read.connect).await?;
    let request = Request::SetWeight { role: role.clone(), weight };
    if *dry_run {
        client.check(request).await?;
        let before = weight_of(&client.roles().await?, role);
        let text = format!("would let role {role} weigh {weight} instead of {before}");
        return output::planned(&text, &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, role, &read.show).await,
        None => Ok(()),
    }
}

fn weight_of(views: &[RoleView], role: &RoleName) -> Weight {
    views.iter().find(|view| view.role == *role).map(|view| view.weight).unwrap_or_default()
}

/// The role as it is now; one that is not in use and weighs 1 is in no list.
async fn show_one(client: &Client, role: &RoleName, show: &Show) -> Result<(), Failure> {
    let views = client.roles().await?;
    let found = views.iter().find(|view| view.role == *role);
    let row = found.map_or_else(|| RoleRow::unused(role), RoleRow::from);
    output::one(&row, show)
}
