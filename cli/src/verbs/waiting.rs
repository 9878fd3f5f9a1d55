//! What an operation that has not ended waits for, as far as the cluster can tell.
//!
//! It asks and concludes; nothing here decides anything. Who cannot be asked is left out.

use crate::client::Client;
use berth_model::agent::DiskHealth;
use berth_model::operation::OperationRecord;
use berth_model::view::{AgentState, AgentView, DiskView, VolumeView};

/// Nothing when it has ended, or when nobody knows of an obstacle.
pub(crate) async fn why(client: &Client, record: &OperationRecord) -> Option<String> {
    if record.state.is_final() {
        return None;
    }
    let agents = client.agents().await.ok()?;
    let (disks, volumes) = (client.disks().await.ok()?, client.volumes(true).await.ok()?);
    reason(record, &agents, &disks, &volumes)
}

/// What the volume's last operation waits for.
pub(crate) async fn of_volume(client: &Client, view: &VolumeView) -> Option<String> {
    let records = client.operations().await.ok()?;
    let record = records.into_iter().find(|record| record.id == view.volume.operation)?;
    why(client, &record).await
}

fn reason(
    record: &OperationRecord,
    agents: &[AgentView],
    disks: &[DiskView],
    volumes: &[VolumeView],
) -> Option<String> {
    let agent = agents.iter().find(|agent| Some(agent.info.id) == record.agent)?;
    let host = &agent.info.hostname;
    if agent.state != AgentState::Registered {
        let state = agent.state.as_str();
        return Some(format!("agent {host} is {state}: it goes on once the agent is back"));
    }
    let own = |view: &&VolumeView| record.volumes.contains(&view.volume.spec.id);
    volumes.iter().filter(own).find_map(|view| {
        let source = &view.volume.spec.source;
        let disk =
            disks.iter().find(|disk| disk.agent == agent.info.id && disk.disk.source == *source);
        match disk.map(|disk| (&disk.disk.name, &disk.disk.health)) {
            None => Some(format!("agent {host} has no disk {source} any more")),
            Some((name, DiskHealth::Faulty(why))) => {
                Some(format!("disk {name} of agent {host} is withheld: {why}"))
            },
            Some((_, DiskHealth::Ok)) => {
                let known = view.volume.error.as_ref().or(view.unavailable.as_ref());
                known.map(ToString::to_string)
            },
        }
    })
}
