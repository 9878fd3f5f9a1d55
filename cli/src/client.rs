//! The command line's way to the cluster: typed calls over gRPC, failures with the server's own words.

use crate::args::{Change, Connect};
use crate::caller;
use crate::failure::{Failure, exit};
use berth_model::audit::{AuditCheck, AuditEntry, AuditView, Said};
use berth_model::disk::{DiskProfile, check_reason};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::explain::Explanation;
use berth_model::id::{AgentId, FrameworkId, OperationId, TaskId};
use berth_model::link::OutputStream;
use berth_model::offer::Offer;
use berth_model::operation::OperationRecord;
use berth_model::operator::Request;
use berth_model::transfer::Survey;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::{
    AgentView, ClusterView, DiskView, FrameworkView, QuotaView, ReservationView, RoleView,
    ScheduleView, SnapshotView, TaskView, VolumeView,
};
use berth_proto::address::Address;
use berth_proto::convert::{
    AuditRequest, LogRequest, MESSAGE_BYTES_MAX, VerifyRequest, from_wire, list_from_wire, to_wire,
};
use berth_proto::status::from_status;
use berth_proto::v1;
use berth_proto::v1::operator_client::OperatorClient;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that does not even answer pings for so long hangs.
const SILENCE: Duration = Duration::from_secs(10);
/// What is asked unless the service scheduler is.
const MASTER: &str = "the master";
/// The name under which the service scheduler subscribes.
pub(crate) const SCHEDULER: &str = "berth-services";

/// A connection to the master.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    operator: OperatorClient<Channel>,
}

/// What `berth dev` waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) agents: u64,
    pub(crate) scheduler: bool,
}

pub(crate) fn failed(status: &Status) -> Failure {
    Failure::from(from_status(status))
}

pub(crate) async fn channel(address: &str, what: &str) -> Result<Channel, Failure> {
    let parsed: Address = address.parse().map_err(Failure::from)?;
    let endpoint = parsed.endpoint().map_err(Failure::from)?;
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(CONNECT)
        .keep_alive_timeout(SILENCE);
    endpoint.connect().await.map_err(|error| {
        let cause =
            std::error::Error::source(&error).map_or_else(String::new, |e| format!(" ({e})"));
        let refused = Rejection::new(
            ErrorCode::Unavailable,
            format!("{what} at {parsed} does not answer{cause}"),
        );
        Failure::new(
            exit::UNREACHABLE,
            refused.remedy(if what == MASTER {
                "start it, or name another one with --master or BERTH_MASTER"
            } else {
                "start it again with the work directory it had: `berth scheduler run --work-dir DIR`"
            }),
        )
    })
}

/// Asks a cluster how far it has come.
pub(crate) async fn probe(address: &str) -> Result<Probe, Failure> {
    let client = Client::connect(&Connect { master: address.to_owned() }).await?;
    let cluster = client.cluster().await?;
    let frameworks = client.frameworks(false).await?;
    let scheduler = frameworks.iter().any(|f| f.connected && &*f.info.name == SCHEDULER);
    Ok(Probe { agents: cluster.agents_registered, scheduler })
}

fn said(change: &Change, in_earnest: bool) -> Result<Said, Failure> {
    if let Some(Err(wrong)) = change.reason.as_deref().map(check_reason) {
        let text = format!("--reason: {wrong}");
        return Err(Failure::usage(text, "write a shorter one, in one line"));
    }
    Ok(Said { who: caller::who(), reason: change.reason.as_deref().map(Arc::from), in_earnest })
}

macro_rules! list {
    ($self:ident, $call:ident, $request:expr, $field:ident) => {{
        let reply = $self.operator.clone().$call($request).await.map_err(|s| failed(&s))?;
        list_from_wire(reply.into_inner().$field, stringify!($field)).map_err(Failure::from)
    }};
}

impl Client {
    pub(crate) async fn connect(connect: &Connect) -> Result<Self, Failure> {
        let channel = channel(&connect.master, MASTER).await?;
        let operator = OperatorClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { operator })
    }

    /// A new operation id.
    pub(crate) fn mint() -> OperationId {
        OperationId::from_u128(uuid::Uuid::new_v4().as_u128())
    }

    /// This machine's time, for ages.
    #[expect(clippy::unused_self, reason = "the server's time may be used one day")]
    pub(crate) fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "ages in tables need the wall clock")]
        let now = SystemTime::now();
        Timestamp::default().after(now.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    pub(crate) async fn cluster(&self) -> Result<ClusterView, Failure> {
        let reply = self.operator.clone().get_cluster(v1::GetClusterRequest {}).await;
        from_wire(reply.map_err(|s| failed(&s))?.into_inner()).map_err(Failure::from)
    }
    pub(crate) async fn agents(&self) -> Result<Vec<AgentView>, Failure> {
        list!(self, list_agents, v1::ListAgentsRequest {}, agents)
    }
    pub(crate) async fn disks(&self) -> Result<Vec<DiskView>, Failure> {
        list!(self, list_disks, v1::ListDisksRequest {}, disks)
    }
    pub(crate) async fn profiles(&self) -> Result<Vec<DiskProfile>, Failure> {
        list!(self, list_profiles, v1::ListProfilesRequest {}, profiles)
    }
    pub(crate) async fn reservations(&self) -> Result<Vec<ReservationView>, Failure> {
        list!(self, list_reservations, v1::ListReservationsRequest { role: None }, reservations)
    }
    pub(crate) async fn volumes(&self, include_trash: bool) -> Result<Vec<VolumeView>, Failure> {
        list!(self, list_volumes, v1::ListVolumesRequest { role: None, include_trash }, volumes)
    }
    pub(crate) async fn snapshots(
        &self,
        role: Option<String>,
    ) -> Result<Vec<SnapshotView>, Failure> {
        list!(self, list_snapshots, v1::ListSnapshotsRequest { role }, snapshots)
    }
    pub(crate) async fn schedules(
        &self,
        role: Option<String>,
    ) -> Result<Vec<ScheduleView>, Failure> {
        list!(self, list_schedules, v1::ListSchedulesRequest { role }, schedules)
    }
    pub(crate) async fn frameworks(
        &self,
        include_removed: bool,
    ) -> Result<Vec<FrameworkView>, Failure> {
        list!(self, list_frameworks, v1::ListFrameworksRequest { include_removed }, frameworks)
    }
    pub(crate) async fn offers(&self) -> Result<Vec<Offer>, Failure> {
        list!(self, list_offers, v1::ListOffersRequest {}, offers)
    }
    pub(crate) async fn tasks(&self, include_ended: bool) -> Result<Vec<TaskView>, Failure> {
        list!(self, list_tasks, v1::ListTasksRequest { include_ended }, tasks)
    }
    pub(crate) async fn operations(&self) -> Result<Vec<OperationRecord>, Failure> {
        list!(self, list_operations, v1::ListOperationsRequest {}, operations)
    }
    pub(crate) async fn roles(&self) -> Result<Vec<RoleView>, Failure> {
        list!(self, list_roles, v1::ListRolesRequest {}, roles)
    }

    pub(crate) async fn quotas(&self) -> Result<Vec<QuotaView>, Failure> {
        list!(self, list_quotas, v1::ListQuotasRequest { role: None }, quotas)
    }

    /// How every agent stands to a framework.
    pub(crate) async fn explain(
        &self,
        framework: &FrameworkId,
    ) -> Result<Vec<Explanation>, Failure> {
        let framework_id = framework.to_string();
        list!(self, explain_framework, v1::ExplainFrameworkRequest { framework_id }, explanations)
    }

    /// Submits a change.
    pub(crate) async fn submit(
        &self,
        id: OperationId,
        request: Request,
        change: &Change,
    ) -> Result<OperationId, Failure> {
        let message = to_wire(&(id, request, said(change, false)?));
        let reply = self.operator.clone().submit(message).await;
        let text = reply.map_err(|s| failed(&s))?.into_inner().operation_id;
        text.parse().map_err(|e: berth_model::id::IdError| Failure::local(e.to_string()))
    }

    /// What an import of a directory would meet.
    pub(crate) async fn survey(
        &self,
        agent: AgentId,
        path: &str,
        size: Bytes,
    ) -> Result<Survey, Failure> {
        let request = v1::SurveyDirectoryRequest {
            agent_id: agent.to_string(),
            path: path.to_owned(),
            size_bytes: size.get(),
        };
        let reply = self.operator.clone().survey_directory(request).await;
        from_wire(reply.map_err(|s| failed(&s))?.into_inner()).map_err(Failure::from)
    }

    /// For calls that stream.
    pub(crate) fn operator(&self) -> OperatorClient<Channel> {
        self.operator.clone()
    }

    /// Asks whether a change would be accepted, before somebody is asked to confirm it: unless it is a trial, a refusal
    /// is one.
    pub(crate) async fn admit(
        &self,
        request: Request,
        change: &Change,
        dry_run: bool,
    ) -> Result<(), Failure> {
        let id = change.request_id.unwrap_or_else(Self::mint);
        let message = to_wire(&(id, request, said(change, !dry_run)?));
        self.operator.clone().check(message).await.map(drop).map_err(|s| failed(&s))
    }

    /// Would the master, and the agent it asks, accept this now? What the agent found, a line for each fact.
    pub(crate) async fn check(&self, request: Request) -> Result<Vec<String>, Failure> {
        let message = to_wire(&(Self::mint(), request, Said::default()));
        let reply = self.operator.clone().check(message).await.map_err(|s| failed(&s))?;
        Ok(reply.into_inner().notes)
    }

    /// A part of the audit log, newest first, and where to ask on.
    pub(crate) async fn audit(
        &self,
        wanted: &AuditRequest,
    ) -> Result<(Vec<AuditEntry>, Option<u64>, AuditView), Failure> {
        let reply = self.operator.clone().list_audit(to_wire(wanted)).await;
        let v1::ListAuditReply { entries, next_before_seq, log } =
            reply.map_err(|s| failed(&s))?.into_inner();
        let entries = list_from_wire(entries, "entries").map_err(Failure::from)?;
        let log = from_wire(log.unwrap_or_default()).map_err(Failure::from)?;
        Ok((entries, next_before_seq, log))
    }

    /// Checks a part of the audit log. Also answers whether there is more to check.
    pub(crate) async fn verify_audit(
        &self,
        wanted: &VerifyRequest,
    ) -> Result<(AuditCheck, bool), Failure> {
        let reply = self.operator.clone().verify_audit(to_wire(wanted)).await;
        from_wire(reply.map_err(|s| failed(&s))?.into_inner()).map_err(Failure::from)
    }

    /// The record once the operation has ended, or as it is after `patience`.
    pub(crate) async fn wait(
        &self,
        id: OperationId,
        patience: Duration,
    ) -> Result<OperationRecord, Failure> {
        let timeout_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let request = v1::WaitOperationRequest { operation_id: id.to_string(), timeout_ms };
        let reply = self.operator.clone().wait_operation(request).await.map_err(|s| failed(&s))?;
        from_wire(reply.into_inner()).map_err(Failure::from)
    }

    pub(crate) async fn read_log(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
        stream: OutputStream,
        follow: bool,
        tail: Option<u64>,
    ) -> Result<Log, Failure> {
        let wanted = LogRequest {
            framework: framework.clone(),
            task: task.clone(),
            stream,
            offset: 0,
            follow,
            tail: tail.map(Bytes::new),
        };
        let reply = self.operator.clone().read_task_log(to_wire(&wanted)).await;
        Ok(Log { chunks: reply.map_err(|s| failed(&s))?.into_inner() })
    }
}

/// A task's output as it arrives.
#[derive(Debug)]
pub(crate) struct Log {
    chunks: Streaming<v1::LogChunk>,
}

impl Log {
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let chunk = self.chunks.message().await.map_err(|s| failed(&s))?;
        Ok(chunk.map(|c| c.data))
    }
}
