//! Volumes as streams: what an agent sends goes to whoever takes an export, what somebody sends for an import goes to the agent.
//!
//! A part is read from one side when the other has taken the one before, so nothing collects here. Invariant: an export that
//! ends, however it ends, is told to the engine, and whoever took it hears of its end after it is recorded.

use super::operator::unknown;
use super::transfer::ask;
use crate::engine::Handle;
use crate::relay::{Attached, Claim, broken};
use berth_master_core::{Input, query};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, TransferId};
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::transfer::TransferWish;
use berth_model::units::Bytes;
use berth_proto::convert::{from_wire, id_from_wire};
use berth_proto::status::to_status;
use berth_proto::v1;
use berth_proto::v1::from_transfer::Body;
use berth_proto::v1::{export_part, import_part, to_transfer};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// Parts that wait for a slow reader.
const QUEUE_MAX: usize = 4;
/// How long an accepted export waits for whoever takes it.
const UNCLAIMED: Duration = Duration::from_mins(1);
/// How long an agent may take to hang up after it was told of the end.
const GOODBYE: Duration = Duration::from_secs(5);

type Parts = mpsc::Sender<Result<v1::ExportPart, Status>>;

fn gone(what: &str) -> Rejection {
    Rejection::new(ErrorCode::TransferFailed, what)
        .remedy("what has arrived is not whole; export again")
}

fn idle_for(idle: Duration) -> String {
    let idle = berth_model::units::format_duration(idle);
    format!("whoever took the export took nothing for {idle}")
}

/// An export that nobody comes for is over.
pub(super) fn expire(handle: &Handle, operation: OperationId) {
    let handle = handle.clone();
    tokio::spawn(async move {
        tokio::time::sleep(UNCLAIMED).await;
        if !handle.relay().is_claimed(operation) {
            let text = format!("nobody came for the export within {}s", UNCLAIMED.as_secs());
            let result = Err(gone(&text));
            // The engine has ended: the next master ends it.
            drop(handle.input(Input::ExportEnded { operation, result }).await);
        }
    });
}

/// Begins to send an export.
pub(super) fn export(
    handle: Handle,
    operation: OperationId,
) -> Result<mpsc::Receiver<Result<v1::ExportPart, Status>>, Rejection> {
    let claim = handle.relay().claim(operation)?;
    let (sender, parts) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(send(handle, claim, operation, sender));
    Ok(parts)
}

async fn send(handle: Handle, claim: Claim, operation: OperationId, to: Parts) {
    let sent = tokio::select! {
        sent = pass_on(&handle, operation, &to) => sent,
        () = to.closed() => Err(gone("whoever took the export has gone")),
    };
    let result = sent.as_ref().map(said_of).map_err(Clone::clone);
    if handle.input(Input::ExportEnded { operation, result }).await.is_err() {
        return;
    }
    let last = match sent {
        Ok(end) => match handle.wait(operation).await {
            Ok(record) => match &record.state {
                OperationState::Failed(reason) => Err(reason.clone()),
                OperationState::Done | OperationState::Accepted => Ok(end),
            },
            Err(reason) => Err(reason),
        },
        Err(reason) => Err(reason),
    };
    let body = |end| v1::ExportPart { body: Some(export_part::Body::End(end)) };
    // Whoever has gone needs no last word.
    to.send(last.map(body).map_err(|reason| to_status(&reason))).await.ok();
    drop(claim);
}

/// For the operation's notes.
fn said_of(end: &v1::ArchiveEnd) -> String {
    let v1::ArchiveEnd { bytes, entries, sha256 } = end;
    let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{entries} entries were sent in {} ({bytes} bytes), SHA-256 {hex}", Bytes::new(*bytes))
}

async fn pass_on(
    handle: &Handle,
    operation: OperationId,
    to: &Parts,
) -> Result<v1::ArchiveEnd, Rejection> {
    let wish = TransferWish::Export { operation };
    let Attached { mut messages, answers, idle, .. } = ask(handle, handle.relay(), wish).await?;
    loop {
        match messages.message().await {
            Ok(Some(v1::FromTransfer { body: Some(Body::Part(part)) })) => {
                let body = Some(export_part::Body::Part(part));
                let sent = timeout(idle, to.send(Ok(v1::ExportPart { body })));
                tokio::select! {
                    sent = sent => {
                        // What the agent says does not arrive while nobody reads, not even that it has hung up.
                        sent.map_err(|_elapsed| gone(&idle_for(idle)))?
                            .map_err(|_closed| gone("whoever took the export has gone"))?;
                    },
                    () = answers.closed() => return Err(gone("the agent that sent the export is gone")),
                }
            },
            Ok(Some(v1::FromTransfer { body: Some(Body::End(end)) })) => return Ok(end),
            Ok(Some(v1::FromTransfer { body: Some(Body::Failed(error)) })) => {
                return Err(from_wire::<Rejection>(error)?);
            },
            Ok(_other) => return Err(broken("the agent ended the export before its end", None)),
            Err(status) => return Err(broken("the stream of the export broke", Some(&status))),
        }
    }
}

/// Passes what somebody sends for an import on to the agent.
pub(super) async fn import(
    handle: &Handle,
    mut parts: Streaming<v1::ImportPart>,
) -> Result<(), Status> {
    let refuse = |error: Rejection| to_status(&error);
    let first = super::first_message(&mut parts).await?.and_then(|part| part.body);
    let Some(import_part::Body::OperationId(text)) = first else {
        return Err(refuse(
            Rejection::new(ErrorCode::InvalidArgument, "the first message names no operation")
                .field("body")
                .remedy("say first which import it is for"),
        ));
    };
    let operation: OperationId = id_from_wire(&text, "operation_id").map_err(refuse)?;
    let _claim = handle.relay().claim(operation).map_err(refuse)?;
    let found = handle.query(move |r| query::operation(r.state, operation)).await;
    let record = found.map_err(refuse)?.ok_or_else(|| refuse(unknown(operation)))?;
    check(&record).map_err(refuse)?;
    let transfer = TransferId::from_u128(operation.as_u128());
    let expected = handle.relay().expect_as(transfer);
    let attached = tokio::select! {
        attached = expected.dialled() => attached.map_err(refuse)?,
        ended = handle.wait(operation) => {
            let record = ended.map_err(refuse)?;
            check(&record).map_err(refuse)?;
            return Err(refuse(gone("the import ended before its content was sent")));
        },
    };
    take_on(parts, attached).await.map_err(refuse)
}

/// Is it an import that is still to have its content?
fn check(record: &OperationRecord) -> Result<(), Rejection> {
    if record.kind != OperationKind::Import {
        let text = format!("operation {} is {} and takes no content", record.id, record.kind);
        return Err(Rejection::new(ErrorCode::InvalidArgument, text)
            .field("operation_id")
            .remedy("ask for an import first: berth volume import --from"));
    }
    match &record.state {
        OperationState::Accepted => Ok(()),
        OperationState::Failed(reason) => Err(reason.clone()),
        OperationState::Done => {
            let text = format!("import {} has its content already", record.id);
            Err(Rejection::new(ErrorCode::TransferFailed, text).remedy("nothing is to be done"))
        },
    }
}

async fn take_on(
    mut parts: Streaming<v1::ImportPart>,
    attached: Attached,
) -> Result<(), Rejection> {
    let Attached { mut messages, answers, .. } = attached;
    let hung_up = || broken("the agent hung up on the import; the operation says why", None);
    loop {
        let part = tokio::select! {
            part = parts.message() => part,
            // It says nothing before the end.
            _said = messages.message() => return Err(hung_up()),
        };
        let body = match part {
            Ok(Some(v1::ImportPart { body: Some(import_part::Body::Part(part)) })) => {
                to_transfer::Body::Part(part)
            },
            Ok(Some(v1::ImportPart { body: Some(import_part::Body::End(_)) })) => {
                to_transfer::Body::End(true)
            },
            Ok(_other) => {
                return Err(broken("the stream of the import ended without its end", None));
            },
            Err(status) => return Err(broken("the stream of the import broke", Some(&status))),
        };
        let is_end = matches!(body, to_transfer::Body::End(_));
        let message = Ok(v1::ToTransfer { body: Some(body) });
        tokio::select! {
            sent = answers.send(message) => sent.map_err(|_closed| hung_up())?,
            _said = messages.message() => return Err(hung_up()),
        }
        if is_end {
            // It hangs up when it has taken all of it.
            drop(timeout(GOODBYE, messages.message()).await);
            return Ok(());
        }
    }
}
