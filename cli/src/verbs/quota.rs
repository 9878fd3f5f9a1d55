//! Quota of roles: set it, look at it, see how roles stand, take it away.

use crate::args::{Act, Quota, QuotaSet, Trial};
use crate::client::Client;
use crate::confirm::ask;
use crate::failure::Failure;
use crate::output::{self, Show};
use crate::rows::{QuotaRow, QuotaUseRow};
use crate::verbs::operation;
use berth_model::error::ErrorCode;
use berth_model::operation::OperationKind;
use berth_model::operator::Request;
use berth_model::quota::{Amounts, QuotaRequest, check, show_amounts};
use berth_model::role::Role;
use berth_model::view::QuotaView;

pub(crate) async fn run(command: &Quota) -> Result<(), Failure> {
    match command {
        Quota::Set(set) => self::set(set).await,
        Quota::Show { role, read } => {
            let client = Client::connect(&read.connect).await?;
            let (views, now) = (client.quotas().await?, client.now());
            let rows: Vec<QuotaRow> =
                views.iter().filter_map(|view| QuotaRow::new(view.quota.as_ref()?, now)).collect();
            let Some(role) = role else { return output::list(&rows, &read.show) };
            let found = rows.iter().find(|row| row.role == *role);
            output::one(found.ok_or_else(|| unknown(role))?, &read.show)
        },
        Quota::Usage { role, read } => {
            let mut views = Client::connect(&read.connect).await?.quotas().await?;
            if let Some(role) = role {
                views.retain(|view| view.role.as_str() == role);
                if views.is_empty() {
                    return Err(unknown(role));
                }
            }
            output::list(&QuotaUseRow::of(&views), &read.show)
        },
        Quota::Unset { role, confirm, act } => {
            let Act { change, read } = &**act;
            let client = Client::connect(&read.connect).await?;
            let kind = OperationKind::UnsetQuota;
            let earlier = operation::earlier(&client, &[kind], change).await?;
            let request = Request::Quota(QuotaRequest::Unset { role: role.clone() });
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            client.admit(request.clone(), change, confirm.dry_run).await?;
            let known = known(&client.quotas().await?, role);
            let impact = format!("the quota of role {role} goes: {known}");
            if confirm.dry_run {
                return output::planned(&format!("would be done: {impact}"), &read.show);
            }
            ask(&impact, confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
    }
}

fn unknown(role: &str) -> Failure {
    let message = format!("role {role} has no quota, and nothing that quota counts");
    Failure::not_found(
        ErrorCode::UnknownQuota,
        message,
        "see `berth quota usage`; only top-level roles have quota",
    )
}

/// Several flags of one kind are one list.
fn merged(lists: &[Amounts], flag: &str) -> Result<Amounts, Failure> {
    let mut all = Amounts::new();
    for (counted, amount) in lists.iter().flatten() {
        if all.insert(counted.clone(), *amount).is_some() {
            return Err(Failure::usage(
                format!("{flag} gives {counted} twice"),
                "give each resource once",
            ));
        }
    }
    Ok(all)
}

fn text(guarantees: &Amounts, limits: &Amounts) -> String {
    format!("guarantees {}; limits {}", show_amounts(guarantees), show_amounts(limits))
}

/// The quota that the role has, in words.
fn known(views: &[QuotaView], role: &Role) -> String {
    let found = views.iter().find(|view| view.role == *role).and_then(|view| view.quota.as_ref());
    found.map_or_else(|| "none".to_owned(), |known| text(&known.guarantees, &known.limits))
}

async fn set(set: &QuotaSet) -> Result<(), Failure> {
    let QuotaSet { role, guarantee, limit, force, trial } = set;
    let Trial { dry_run, act: Act { change, read } } = trial;
    let guarantees = merged(guarantee, "--guarantee")?;
    let limits = merged(limit, "--limit")?;
    check(role, &guarantees, &limits).map_err(|error| Failure::from(error.rejection()))?;
    let client = Client::connect(&read.connect).await?;
    let new = text(&guarantees, &limits);
    let force = *force;
    let request =
        Request::Quota(QuotaRequest::Set { role: role.clone(), guarantees, limits, force });
    if *dry_run {
        let notes = client.check(request).await?;
        let before = known(&client.quotas().await?, role);
        let mut lines =
            vec![format!("would set the quota of role {role}: {new}"), format!("it has: {before}")];
        lines.extend(notes);
        return output::planned(&lines.join("\n"), &read.show);
    }
    match operation::submit(&client, request, change, &read.show).await? {
        Some(_) => show_one(&client, role, &read.show).await,
        None => Ok(()),
    }
}

async fn show_one(client: &Client, role: &Role, show: &Show) -> Result<(), Failure> {
    let views = client.quotas().await?;
    let view = views.iter().find(|view| view.role == *role);
    match view.and_then(|view| QuotaRow::new(view.quota.as_ref()?, client.now())) {
        Some(row) => output::one(&row, show),
        // Somebody took it away since.
        None => Ok(()),
    }
}
