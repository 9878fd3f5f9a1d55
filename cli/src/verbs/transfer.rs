//! Volumes with content from outside.

use super::operation::{self, within};
use super::stream;
use super::volume::{disk_of, show_one};
use crate::args::{Act, Change, Trial, VolumeImport};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, note};
use crate::rows::SurveyRow;
use crate::verbs::list::find_agent;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, Principal};
use berth_model::operator::{DiskChoice, Request};
use berth_model::transfer::Import;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

/// How often somebody who waits is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// `berth volume import`.
pub(crate) async fn import(command: &VolumeImport) -> Result<(), Failure> {
    let Trial { dry_run, act: Act { change, read } } = &command.trial;
    let opened = match &command.from {
        Some(from) => Some((from.as_path(), stream::open_source(from)?)),
        None => None,
    };
    let client = Client::connect(&read.connect).await?;
    let agents = client.agents().await?;
    let (agent, host) = match &command.agent {
        Some(text) => {
            let info = &find_agent(&agents, text)?.info;
            (Some(info.id), Some(Arc::clone(&info.hostname)))
        },
        None => (None, None),
    };
    let principal = command.principal.as_deref().map(Principal::new).transpose();
    let principal = principal.map_err(|e| {
        Failure::from(Rejection::new(ErrorCode::InvalidId, e.to_string()).field("principal"))
    })?;
    let request = Request::CreateVolume {
        name: command.name.clone(),
        role: command.role.clone(),
        principal,
        size: command.size,
        agent,
        disk: match &command.profile {
            Some(profile) => DiskChoice::Profile(profile.clone()),
            None => disk_of(&client, command.disk.as_deref()).await?,
        },
        container_path: Arc::from(command.container_path.as_str()),
        access: command.access.access(),
        shared: false,
        encrypted: command.encrypt,
        import: Some(match &command.path {
            Some(path) => Import::Directory { path: Arc::clone(path) },
            None => Import::Stream,
        }),
    };
    if let Some(source) = opened {
        return stream::import(&client, request, source, command).await;
    }
    if let (true, Some(agent), Some(path)) = (*dry_run, agent, &command.path) {
        for fact in client.check(request).await? {
            note(&fact);
        }
        let who = format!("agent {}", host.as_deref().unwrap_or_default());
        let survey = within(change, &who, client.survey(agent, path, command.size)).await?;
        output::one(&SurveyRow::new(&survey), &read.show)?;
        return match survey.refusals.first() {
            Some(first) => Err(Failure::from(first.clone())),
            None => Ok(()),
        };
    }
    let id = change.request_id.unwrap_or_else(Client::mint);
    let change = Change { request_id: Some(id), ..change.clone() };
    let done = tokio::select! {
        done = operation::submit(&client, request, &change, &read.show) => done?,
        () = tell(&client, id) => None,
    };
    match done.and_then(|record| record.volumes.first().copied()) {
        Some(id) => show_one(&client, id, &read.show).await,
        None => Ok(()),
    }
}

/// Tells the person how far it is; never ends.
pub(super) async fn tell(client: &Client, id: OperationId) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(TOLD_EVERY).await;
        if !std::io::stderr().is_terminal() {
            continue;
        }
        // What cannot be asked now is asked again; the operation itself says how it ends.
        let Ok(record) = client.wait(id, Duration::ZERO).await else { continue };
        if let Some(text) = record.notes.last().filter(|text| **text != told) {
            note(text);
            told.clone_from(text);
        }
    }
}
