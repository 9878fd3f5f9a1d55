//! The database's own client, and where the cluster runs the database.

use anyhow::{Context, bail};
use berth_cluster_tests::{Cluster, run};
use serde_json::Value;
use std::path::Path;

/// Where the service is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) agent: String,
    pub(crate) volume: String,
    pub(crate) pid: i32,
    pub(crate) port: u16,
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("no text {key} in {value}"))
}

/// The placement of a service whose server task is running and ready.
pub(crate) fn ready_placement(cluster: &Cluster, service: &str) -> anyhow::Result<Placement> {
    let shown = cluster.json(&["service", "show", service])?;
    let state = text(&shown, "state")?;
    let pod = shown.pointer("/pods/0").context("the service has no pod")?;
    if state != "RUNNING" {
        bail!("service {service} is {state}: {}", pod.get("message").unwrap_or(&Value::Null));
    }
    let volume = pod.pointer("/volumes/0/volume_id").and_then(Value::as_str);
    let tasks = pod.get("tasks").and_then(Value::as_array).context("the pod has no tasks")?;
    let server = tasks
        .iter()
        .find(|task| task.get("goal").and_then(Value::as_str) == Some("running"))
        .context("the pod has no running task")?;
    if server.get("ready").and_then(Value::as_bool) != Some(true) {
        bail!("the server is not ready: {server}");
    }
    let pid = server.get("pid").and_then(Value::as_i64).context("the server has no pid")?;
    let task = text(server, "task_id")?;
    Ok(Placement {
        agent: text(pod, "agent_id")?.to_owned(),
        volume: volume.context("the pod has no volume id")?.to_owned(),
        pid: i32::try_from(pid).context("pid")?,
        port: port_of(cluster, task)?,
    })
}

/// The first port among the task's resources, written `ports(role):[31000-31000]`.
fn port_of(cluster: &Cluster, task: &str) -> anyhow::Result<u16> {
    let tasks = cluster.items(&["task", "list"])?;
    let found = tasks.iter().find(|t| t.get("id").and_then(Value::as_str) == Some(task));
    let resources =
        text(found.with_context(|| format!("task {task} is not listed"))?, "resources")?;
    let ports = resources.split("; ").find(|item| item.starts_with("ports"));
    let digits: String = ports
        .and_then(|item| item.rsplit_once('['))
        .map(|(_, range)| range.chars().take_while(char::is_ascii_digit).collect())
        .with_context(|| format!("no port in {resources}"))?;
    digits.parse().with_context(|| format!("port {digits:?}"))
}

/// Runs one statement through the database's own client.
pub(crate) fn sql(port: u16, statement: &str) -> anyhow::Result<String> {
    let port = port.to_string();
    let args = [
        "--no-defaults",
        "--protocol=tcp",
        "--host=127.0.0.1",
        "--port",
        &port,
        "--user=root",
        "--connect-timeout=5",
        "--batch",
        "--skip-column-names",
        "--execute",
        statement,
    ];
    let run = run(Path::new("mariadb"), &args, &[])?;
    if run.code != 0 {
        bail!("mariadb client ended with {}: {}", run.code, run.stderr.trim());
    }
    Ok(run.stdout.trim().to_owned())
}
