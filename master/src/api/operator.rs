//! Operators' calls: submit and wait, lists, task output, changes as they happen.

use crate::engine::{FileRange, Handle, Reading, audit};
use berth_master_core::query;
use berth_model::audit::Said;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{FrameworkId, OperationId, TaskId};
use berth_model::operation::{OperationKind, OperationRecord};
use berth_model::operator;
use berth_model::role::Role;
use berth_model::volume::VolumeState;
use berth_proto::convert::{
    LogRequest, from_wire, id_from_wire, list_to_wire, role_from_wire, to_wire,
};
use berth_proto::status::to_status;
use berth_proto::v1::operator_server::Operator;
use berth_proto::{fingerprint, v1};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// The longest a call may wait for an operation; clients ask again.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How much of a file is asked for at once.
const CHUNK: u32 = 256 * 1024;
/// How often a followed file is looked at.
const FOLLOW: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Operators {
    handle: Handle,
}

impl Operators {
    pub(super) const fn new(handle: Handle) -> Self {
        Self { handle }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading<'_>) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.handle.query(read).await.map_err(|e| to_status(&e))
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;
type Answer<T> = Result<Response<T>, Status>;

fn refuse(error: Rejection) -> Status {
    to_status(&error)
}

fn role_filter(role: Option<String>) -> Result<Option<Role>, Status> {
    role.map(|text| role_from_wire(&text, "role")).transpose().map_err(refuse)
}

#[tonic::async_trait]
impl Operator for Operators {
    type ReadTaskLogStream = Streamed<v1::LogChunk>;
    type ReceiveExportStream = Streamed<v1::ExportPart>;
    type WatchStream = Streamed<v1::Change>;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitReply> {
        let message = request.into_inner();
        let (operation, request, said) =
            from_wire::<(OperationId, _, Said)>(message).map_err(refuse)?;
        let print = fingerprint::request(&request);
        let kind = request.kind();
        let accepted = self.handle.submit(operation, print, request, said).await.map_err(refuse)?;
        if kind == OperationKind::Export {
            super::stream::expire(&self.handle, accepted);
        }
        let (operation_id, notes) = (accepted.to_string(), Vec::new());
        Ok(Response::new(v1::SubmitReply { operation_id, notes }))
    }

    async fn check(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitReply> {
        let message = request.into_inner();
        let (operation, request, said) =
            from_wire::<(OperationId, operator::Request, Said)>(message).map_err(refuse)?;
        let plan = self.handle.check(operation, request.clone(), said).await.map_err(refuse)?;
        let notes = match &request {
            operator::Request::AddDisk { .. } | operator::Request::RemoveDisk { .. } => {
                self.handle.try_disk(request).await.map_err(refuse)?
            },
            _decided_here => plan,
        };
        Ok(Response::new(v1::SubmitReply { operation_id: operation.to_string(), notes }))
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Answer<v1::OperationRecord> {
        let text = request.into_inner().operation_id;
        let id: OperationId = id_from_wire(&text, "operation_id").map_err(refuse)?;
        let found = self.read(move |r| query::operation(r.state, id)).await?;
        found.map(|record| Response::new(to_wire(&record))).ok_or_else(|| refuse(unknown(id)))
    }

    async fn wait_operation(
        &self,
        request: Request<v1::WaitOperationRequest>,
    ) -> Answer<v1::OperationRecord> {
        let v1::WaitOperationRequest { operation_id, timeout_ms } = request.into_inner();
        let id: OperationId = id_from_wire(&operation_id, "operation_id").map_err(refuse)?;
        let patience = Duration::from_millis(timeout_ms).min(WAIT_MAX);
        let record: Arc<OperationRecord> =
            match tokio::time::timeout(patience, self.handle.wait(id)).await {
                Ok(record) => record.map_err(refuse)?,
                // Not ended yet is an answer, not a failure: the record says ACCEPTED.
                Err(_elapsed) => self
                    .read(move |r| query::operation(r.state, id))
                    .await?
                    .ok_or_else(|| refuse(unknown(id)))?,
            };
        Ok(Response::new(to_wire(&record)))
    }

    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Answer<v1::ClusterView> {
        let view = self
            .read(|r| {
                query::clusters(r.state).into_iter().next().map(|mut view| {
                    view.revision = r.revision;
                    view
                })
            })
            .await?;
        view.map(|view| Response::new(to_wire(&view))).ok_or_else(|| {
            refuse(Rejection::new(ErrorCode::Internal, "the master has no cluster row"))
        })
    }

    async fn list_agents(&self, _: Request<v1::ListAgentsRequest>) -> Answer<v1::ListAgentsReply> {
        let agents = self.read(|r| query::agents(r.state)).await?;
        Ok(Response::new(v1::ListAgentsReply { agents: list_to_wire(&agents) }))
    }

    async fn list_reservations(
        &self,
        request: Request<v1::ListReservationsRequest>,
    ) -> Answer<v1::ListReservationsReply> {
        let role = role_filter(request.into_inner().role)?;
        let mut rows = self.read(|r| query::reservations(r.state)).await?;
        rows.retain(|row| {
            role.as_ref().is_none_or(|role| row.row.resource.stack.owner() == Some(role))
        });
        Ok(Response::new(v1::ListReservationsReply { reservations: list_to_wire(&rows) }))
    }

    async fn list_volumes(
        &self,
        request: Request<v1::ListVolumesRequest>,
    ) -> Answer<v1::ListVolumesReply> {
        let v1::ListVolumesRequest { role, include_trash } = request.into_inner();
        let role = role_filter(role)?;
        let mut volumes = self.read(|r| query::volumes(r.state)).await?;
        volumes.retain(|view| {
            let is_of_role = role.as_ref().is_none_or(|role| view.volume.spec.role == *role);
            is_of_role && (include_trash || view.volume.state != VolumeState::Trashed)
        });
        Ok(Response::new(v1::ListVolumesReply { volumes: list_to_wire(&volumes) }))
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Answer<v1::ListSnapshotsReply> {
        let role = role_filter(request.into_inner().role)?;
        let mut snapshots = self.read(|r| query::snapshots(r.state)).await?;
        snapshots
            .retain(|view| role.as_ref().is_none_or(|role| view.snapshot.spec.of.role == *role));
        Ok(Response::new(v1::ListSnapshotsReply { snapshots: list_to_wire(&snapshots) }))
    }

    async fn list_schedules(
        &self,
        request: Request<v1::ListSchedulesRequest>,
    ) -> Answer<v1::ListSchedulesReply> {
        let role = role_filter(request.into_inner().role)?;
        let mut schedules = self.read(|r| query::schedules(r.state)).await?;
        schedules.retain(|view| role.as_ref().is_none_or(|role| view.role == *role));
        Ok(Response::new(v1::ListSchedulesReply { schedules: list_to_wire(&schedules) }))
    }

    async fn list_frameworks(
        &self,
        request: Request<v1::ListFrameworksRequest>,
    ) -> Answer<v1::ListFrameworksReply> {
        let all = request.into_inner().include_removed;
        let mut frameworks = self.read(|r| query::frameworks(r.state)).await?;
        frameworks.retain(|view| all || view.removed.is_none());
        Ok(Response::new(v1::ListFrameworksReply { frameworks: list_to_wire(&frameworks) }))
    }

    async fn list_offers(&self, _: Request<v1::ListOffersRequest>) -> Answer<v1::ListOffersReply> {
        let offers = self.read(|r| query::offers(r.state)).await?;
        Ok(Response::new(v1::ListOffersReply { offers: list_to_wire(&offers) }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answer<v1::ListTasksReply> {
        let all = request.into_inner().include_ended;
        let mut tasks = self.read(|r| query::tasks(r.state)).await?;
        tasks.retain(|view| all || !view.status.state.is_terminal());
        Ok(Response::new(v1::ListTasksReply { tasks: list_to_wire(&tasks) }))
    }

    async fn list_operations(
        &self,
        _: Request<v1::ListOperationsRequest>,
    ) -> Answer<v1::ListOperationsReply> {
        let operations = self.read(|r| query::operations(r.state)).await?;
        Ok(Response::new(v1::ListOperationsReply { operations: list_to_wire(&operations) }))
    }

    async fn list_roles(&self, _: Request<v1::ListRolesRequest>) -> Answer<v1::ListRolesReply> {
        let roles = self.read(|r| query::roles(r.state)).await?;
        Ok(Response::new(v1::ListRolesReply { roles: list_to_wire(&roles) }))
    }

    async fn list_quotas(
        &self,
        request: Request<v1::ListQuotasRequest>,
    ) -> Answer<v1::ListQuotasReply> {
        let role = role_filter(request.into_inner().role)?;
        let mut quotas = self.read(|r| query::quotas(r.state)).await?;
        quotas.retain(|view| role.as_ref().is_none_or(|role| view.role == *role));
        Ok(Response::new(v1::ListQuotasReply { quotas: list_to_wire(&quotas) }))
    }

    async fn explain_framework(
        &self,
        request: Request<v1::ExplainFrameworkRequest>,
    ) -> Answer<v1::ExplainFrameworkReply> {
        let v1::ExplainFrameworkRequest { framework_id } = request.into_inner();
        let id: FrameworkId = id_from_wire(&framework_id, "framework_id").map_err(refuse)?;
        let found = self.read(move |r| query::explain(r.state, &id, r.now)).await?;
        let explanations = list_to_wire(&found.map_err(refuse)?);
        Ok(Response::new(v1::ExplainFrameworkReply { explanations }))
    }

    async fn list_disks(&self, _: Request<v1::ListDisksRequest>) -> Answer<v1::ListDisksReply> {
        let disks = self.read(|r| query::disks(r.state)).await?;
        Ok(Response::new(v1::ListDisksReply { disks: list_to_wire(&disks) }))
    }

    async fn list_profiles(
        &self,
        _: Request<v1::ListProfilesRequest>,
    ) -> Answer<v1::ListProfilesReply> {
        let profiles = self.read(|r| query::profiles(r.state)).await?;
        Ok(Response::new(v1::ListProfilesReply { profiles: list_to_wire(&profiles) }))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Answer<v1::ListAuditReply> {
        let wanted = from_wire(request.into_inner()).map_err(refuse)?;
        let audit::Listed { entries, next, log } =
            audit::list(&self.handle, wanted).await.map_err(refuse)?;
        Ok(Response::new(v1::ListAuditReply {
            entries: list_to_wire(&entries),
            next_before_seq: next,
            log: Some(to_wire(&log)),
        }))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Answer<v1::VerifyAuditReply> {
        let wanted = from_wire(request.into_inner()).map_err(refuse)?;
        let check = audit::verify(&self.handle, wanted).await.map_err(refuse)?;
        Ok(Response::new(to_wire(&check)))
    }

    async fn read_task_log(
        &self,
        request: Request<v1::ReadTaskLogRequest>,
    ) -> Answer<Self::ReadTaskLogStream> {
        let wanted = from_wire::<LogRequest>(request.into_inner()).map_err(refuse)?;
        let (sender, chunks) = mpsc::channel(4);
        tokio::spawn(send_log(self.handle.clone(), wanted, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(chunks))))
    }

    async fn survey_directory(
        &self,
        request: Request<v1::SurveyDirectoryRequest>,
    ) -> Answer<v1::Survey> {
        let (handle, relay) = (&self.handle, self.handle.relay());
        let found = super::transfer::survey(handle, relay, request.into_inner()).await;
        found.map(Response::new).map_err(refuse)
    }

    async fn receive_export(
        &self,
        request: Request<v1::ReceiveExportRequest>,
    ) -> Answer<Self::ReceiveExportStream> {
        let text = request.into_inner().operation_id;
        let id: OperationId = id_from_wire(&text, "operation_id").map_err(refuse)?;
        let parts = super::stream::export(self.handle.clone(), id).map_err(refuse)?;
        Ok(Response::new(Box::pin(ReceiverStream::new(parts))))
    }

    async fn send_import(
        &self,
        request: Request<Streaming<v1::ImportPart>>,
    ) -> Answer<v1::SendImportReply> {
        super::stream::import(&self.handle, request.into_inner()).await?;
        Ok(Response::new(v1::SendImportReply {}))
    }

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let changes = self.handle.watch().await.map_err(refuse)?;
        let stream = ReceiverStream::new(changes).map(|change| Ok(to_wire(&change)));
        Ok(Response::new(Box::pin(stream)))
    }
}

pub(super) fn unknown(id: OperationId) -> Rejection {
    Rejection::new(ErrorCode::UnknownOperation, format!("operation {id} is not known"))
        .field("operation_id")
        .remedy("see `berth operation list`; ended operations are kept for a while only")
}

/// Reads on until the end of the output, or, when followed, until the task has ended.
async fn send_log(
    handle: Handle,
    wanted: LogRequest,
    sender: mpsc::Sender<Result<v1::LogChunk, Status>>,
) {
    let LogRequest { framework, task, stream, offset, follow, tail } = wanted;
    let range = |offset, length| FileRange {
        framework: framework.clone(),
        task: task.clone(),
        stream,
        offset,
        length,
    };
    let mut next = offset;
    if let Some(tail) = tail {
        // An offset beyond the end answers with the end.
        match handle.read_file(range(u64::MAX, 0)).await {
            Ok((end, Ok(_))) => next = end.saturating_sub(tail.get()),
            Ok((_, Err(error))) | Err(error) => {
                drop(sender.send(Err(to_status(&error))).await);
                return;
            },
        }
    }
    loop {
        // Looked at before the read: what a task wrote before its end is read before the stream ends.
        let ended = has_ended(&handle, &framework, &task).await;
        match handle.read_file(range(next, CHUNK)).await {
            Ok((_, Ok(data))) if data.is_empty() => {
                if !follow || ended || sender.is_closed() {
                    return;
                }
                tokio::time::sleep(FOLLOW).await;
            },
            Ok((offset, Ok(data))) => {
                next = offset + data.len() as u64;
                if sender.send(Ok(v1::LogChunk { offset, data })).await.is_err() {
                    return;
                }
            },
            Ok((_, Err(error))) | Err(error) => {
                drop(sender.send(Err(to_status(&error))).await);
                return;
            },
        }
    }
}

async fn has_ended(handle: &Handle, framework: &FrameworkId, task: &TaskId) -> bool {
    // Task ids are unique within a framework only.
    let (framework, task) = (framework.clone(), task.clone());
    let found = handle.query(move |r| {
        query::tasks(r.state)
            .into_iter()
            .find(|view| view.status.framework == framework && view.status.task == task)
    });
    found.await.ok().flatten().is_none_or(|view| view.status.state.is_terminal())
}
