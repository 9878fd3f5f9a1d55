//! Reading: agents, frameworks, offers.

use crate::args::{Agent, Framework, Offer, Read};
use crate::client::Client;
use crate::confirm::ask;
use crate::failure::Failure;
use crate::output::{self, note};
use crate::resolve::{Kind, find};
use crate::rows::{AgentRow, FrameworkRow, OfferRow};
use crate::verbs::operation;
use berth_model::error::ErrorCode;
use berth_model::id::DiskId;
use berth_model::operation::OperationKind;
use berth_model::operator::{DiskChoice, Request};
use berth_model::view::{AgentView, FrameworkView};
use std::sync::Arc;

const AGENT: Kind =
    Kind { noun: "agent", unknown: ErrorCode::UnknownAgent, list: "berth agent list" };
const FRAMEWORK: Kind =
    Kind { noun: "framework", unknown: ErrorCode::UnknownFramework, list: "berth framework list" };
const OFFER: Kind =
    Kind { noun: "offer", unknown: ErrorCode::StaleOffer, list: "berth offer list" };

/// The agent that is meant.
pub(crate) fn find_agent<'a>(
    agents: &'a [AgentView],
    text: &str,
) -> Result<&'a AgentView, Failure> {
    find(&AGENT, agents, text, |a| a.info.id.to_string(), |a| vec![a.info.hostname.to_string()])
}

/// The disk that is meant: a minted id, or the name or root directory it has on its agent.
pub(crate) fn disk_choice(text: Option<&str>) -> DiskChoice {
    match text {
        None => DiskChoice::Any,
        Some(text) => match text.parse::<DiskId>() {
            Ok(id) => DiskChoice::Id(id),
            Err(_not_an_id) => DiskChoice::Named(Arc::from(text)),
        },
    }
}

pub(crate) fn find_framework<'a>(
    frameworks: &'a [FrameworkView],
    text: &str,
) -> Result<&'a FrameworkView, Failure> {
    find(&FRAMEWORK, frameworks, text, |f| f.id.to_string(), |f| vec![f.info.name.to_string()])
}

pub(crate) async fn agent_list(read: &Read) -> Result<(), Failure> {
    let client = Client::connect(&read.connect).await?;
    let mut agents = client.agents().await?;
    agents.sort_by(|a, b| a.info.hostname.cmp(&b.info.hostname));
    if let Some(why) = client.cluster().await?.safe_mode {
        note(&format!(
            "warning: the master is in safe mode and refuses to destroy anything: {why}"
        ));
    }
    let rows: Vec<AgentRow> = agents.iter().map(AgentRow::from).collect();
    output::list(&rows, &read.show)
}

pub(crate) async fn agent(command: &Agent) -> Result<(), Failure> {
    match command {
        Agent::List(read) => agent_list(read).await,
        Agent::Show { agent, read } => {
            let agents = Client::connect(&read.connect).await?.agents().await?;
            output::one(&AgentRow::from(find_agent(&agents, agent)?), &read.show)
        },
        // Dispatched before a client is needed.
        Agent::Run(_) => Ok(()),
    }
}

pub(crate) async fn framework(command: &Framework) -> Result<(), Failure> {
    match command {
        Framework::List { all, read } => {
            let client = Client::connect(&read.connect).await?;
            let now = client.now();
            let frameworks = client.frameworks(*all).await?;
            let rows: Vec<FrameworkRow> =
                frameworks.iter().map(|f| FrameworkRow::new(f, now)).collect();
            output::list(&rows, &read.show)
        },
        Framework::Show { framework, read } => {
            let client = Client::connect(&read.connect).await?;
            let now = client.now();
            let frameworks = client.frameworks(true).await?;
            let found = find_framework(&frameworks, framework)?;
            output::one(&FrameworkRow::new(found, now), &read.show)
        },
        Framework::Teardown { framework, confirm, change, read } => {
            let client = Client::connect(&read.connect).await?;
            let earlier = operation::earlier(&client, &[OperationKind::Teardown], change).await?;
            let frameworks = client.frameworks(true).await?;
            let found = match find_framework(&frameworks, framework) {
                Ok(found) => found,
                Err(absent) => {
                    let told = (change, &read.show);
                    return earlier.stands_for(&client, framework, told, absent).await;
                },
            };
            let request = Request::Teardown { framework: found.id.clone() };
            if earlier.is_known() {
                return operation::submit_and_show(&client, request, change, &read.show).await;
            }
            let impact = format!(
                "framework {} ({}): {} tasks end and {} offers are rescinded; its reservations and volumes stay",
                found.id, found.info.name, found.tasks, found.offers
            );
            if confirm.dry_run {
                return output::planned(&format!("would remove {impact}"), &read.show);
            }
            ask(&impact, confirm)?;
            operation::submit_and_show(&client, request, change, &read.show).await
        },
    }
}

pub(crate) async fn offer(command: &Offer) -> Result<(), Failure> {
    let (Offer::List(read) | Offer::Show { read, .. }) = command;
    let offers = Client::connect(&read.connect).await?.offers().await?;
    let rows = OfferRow::all(&offers);
    match command {
        Offer::List(_) => output::list(&rows, &read.show),
        Offer::Show { offer, .. } => {
            output::one(find(&OFFER, &rows, offer, |o| o.id.clone(), |_| Vec::new())?, &read.show)
        },
    }
}
