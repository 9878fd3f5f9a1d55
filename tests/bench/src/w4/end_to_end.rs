//! W4 with real daemons: gRPC over loopback, RocksDB, the ledger, the `directory` driver.

use super::{EXISTING, Effort};
use crate::report::Figures;
use crate::statistics::{median, quantile, theil_sen};
use anyhow::{Context, ensure};
use berth_cluster_tests::Pair;
use berth_model::id::OperationId;
use berth_proto::address::Address;
use berth_proto::v1;
use berth_proto::v1::operator_client::OperatorClient;
use std::path::Path;
use std::time::Instant;
use tonic::transport::Channel;

const CLIENTS: usize = 64;
const OPERATIONS: usize = 60;

async fn create(mut client: OperatorClient<Channel>, name: String) -> anyhow::Result<f64> {
    let start = Instant::now();
    let id = OperationId::from_u128(uuid::Uuid::new_v4().as_u128()).to_string();
    let request = v1::submit_request::CreateVolume {
        name,
        role: "bench".to_owned(),
        size_bytes: 1 << 20,
        container_path: "data".to_owned(),
        ..Default::default()
    };
    let submit = v1::SubmitRequest {
        operation_id: id.clone(),
        request: Some(v1::submit_request::Request::CreateVolume(request)),
        ..Default::default()
    };
    client.submit(submit).await.context("submit")?;
    let wait = v1::WaitOperationRequest { operation_id: id, timeout_ms: 60_000 };
    let record = client.wait_operation(wait).await.context("wait")?.into_inner();
    ensure!(record.finished_ms.is_some(), "not ended: {record:?}");
    Ok(start.elapsed().as_secs_f64())
}

/// Creates `count` volumes with `clients` at once; answers each one's seconds, and the whole.
async fn create_all(
    client: &OperatorClient<Channel>,
    first: usize,
    count: usize,
    clients: usize,
) -> anyhow::Result<(Vec<f64>, f64)> {
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    let mut each = Vec::with_capacity(count);
    for number in first..first + count {
        if running.len() >= clients {
            each.push(running.join_next().await.context("no task")???);
        }
        running.spawn(create(client.clone(), format!("v{number}")));
    }
    while let Some(done) = running.join_next().await {
        each.push(done??);
    }
    Ok((each, start.elapsed().as_secs_f64()))
}

/// User and system time of a process so far, in seconds (100 ticks a second on Linux).
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let field = |n: usize| rest.split_whitespace().nth(n).and_then(|t| t.parse::<f64>().ok());
    (field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0)) / 100.0
}

/// Memory of a process that is not swapped out.
fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

pub(super) fn measure(dir: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let dir = dir.join("end-to-end");
    std::fs::create_dir_all(&dir).context("create a folder")?;
    let mut pair = Pair::new(&dir)?;
    pair.start()?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let outcome = runtime.block_on(measure_pair(&pair, effort, figures));
    outcome.with_context(|| pair.log_tails())
}

async fn measure_pair(pair: &Pair, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let address: Address = pair.address().parse()?;
    let channel = address.endpoint()?.connect().await.context("connect")?;
    let client = OperatorClient::new(channel);
    let pids = [pair.master_pid()?, pair.agent_pid()?];
    let mut present = 0;
    let mut points = Vec::new();
    let count = if effort.blocks > 2 { OPERATIONS } else { 10 };
    for existing in EXISTING.into_iter().filter(|n| *n <= effort.largest) {
        if existing > present {
            create_all(&client, present, existing - present, CLIENTS).await?;
            present = existing;
        }
        let before = pids.map(cpu_seconds);
        let (each, _) = create_all(&client, present, count, 1).await?;
        let after = pids.map(cpu_seconds);
        present += count;
        let operations = u32::try_from(count).map_or(1.0, f64::from);
        let put = |figures: &mut Figures, name: &str, value: f64| {
            figures.put(&format!("e2e.1_client.{existing}_existing.{name}"), value);
        };
        put(figures, "ms_p50", median(&each) * 1e3);
        put(figures, "ms_p99", quantile(&each, 0.99) * 1e3);
        put(figures, "master_cpu_ms_per_operation", (after[0] - before[0]) * 1e3 / operations);
        put(figures, "agent_cpu_ms_per_operation", (after[1] - before[1]) * 1e3 / operations);
        let (each, whole) = create_all(&client, present, count * 4, CLIENTS).await?;
        present += count * 4;
        figures.put(
            &format!("e2e.64_clients.{existing}_existing.operations_per_s"),
            operations * 4.0 / whole,
        );
        figures.put(&format!("e2e.64_clients.{existing}_existing.ms_p50"), median(&each) * 1e3);
        for (who, pid) in ["master", "agent"].into_iter().zip(pids) {
            figures.put(&format!("e2e.{existing}_existing.{who}_rss_mib"), rss_mib(pid));
        }
        let size = u32::try_from(existing.max(1)).map_or(1.0, f64::from);
        points.push((
            size,
            figures.get(&format!("e2e.1_client.{existing}_existing.ms_p50")).unwrap_or(1.0),
        ));
    }
    figures.put("e2e.1_client.slope_in_existing_volumes", theil_sen(&points));
    Ok(())
}
