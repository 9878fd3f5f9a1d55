//! Volumes as streams: between the thread that reads or writes the disk and the connection to the master, with a bounded queue
//! between the two, so that neither is faster than the other.
//!
//! Invariant: whoever stands still for too long is hung up on, and what was begun ends with the connection.

use super::transfer::{QUEUE_MAX, Way, attach, message, said};
use crate::volume::Volumes;
use crate::volume::content::{Incoming, Packed, Part, Stop};
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, TransferId};
use berth_model::snapshot::SnapshotSpec;
use berth_model::volume::VolumeSpec;
use berth_proto::convert::to_wire;
use berth_proto::v1;
use berth_proto::v1::from_transfer::Body;
use berth_proto::v1::to_transfer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

/// How soon it is noticed that a stream is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two attempts to find whoever sends what is imported.
const DIAL_EVERY: Duration = Duration::from_millis(300);

async fn becomes(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(LOOK_EVERY).await;
    }
}

fn idle_for(idle: Duration) -> String {
    format!("nothing moved for {}", berth_model::units::format_duration(idle))
}

/// Sends a volume as an archive; answers what is to be said last.
pub(super) async fn exported(
    messages: &mpsc::Sender<v1::FromTransfer>,
    idle: Duration,
    volumes: Arc<Volumes>,
    (volume, snapshot): (Box<VolumeSpec>, Option<Box<SnapshotSpec>>),
) -> Result<Body, String> {
    let stopped = Arc::new(AtomicBool::new(false));
    let (parts, mut queue) = mpsc::channel(QUEUE_MAX);
    let (flag, all) = (Arc::clone(&stopped), Arc::clone(&volumes));
    let job = spawn_blocking(move || {
        let mut sink = |part: Vec<u8>| parts.blocking_send(part).map_err(|_hung_up| Stop::Stopped);
        all.export(&volume, snapshot.as_deref(), &flag, &mut sink)
    });
    let forward = async {
        while let Some(part) = queue.recv().await {
            let sent = timeout(idle, messages.send(message(Body::Part(part)))).await;
            sent.map_err(|_elapsed| idle_for(idle))?
                .map_err(|_closed| "whoever took the export is gone".to_owned())?;
        }
        Ok(())
    };
    let to_end = || stopped.load(Ordering::Relaxed) || volumes.is_stopping();
    let forwarded: Result<(), String> = tokio::select! {
        forwarded = forward => forwarded,
        () = messages.closed() => Err("whoever took the export is gone".to_owned()),
        // The thread says why.
        () = becomes(to_end) => Ok(()),
    };
    stopped.store(true, Ordering::Relaxed);
    // A thread that waits for room in the queue gives up.
    drop(queue);
    let ended = job.await.unwrap_or_else(|_panic| {
        let text = "the export failed; the agent's log says where";
        Err(Rejection::new(ErrorCode::Internal, text))
    });
    forwarded?;
    Ok(match ended {
        Ok(Packed { bytes, entries, checksum }) => {
            Body::End(v1::ArchiveEnd { bytes, entries, sha256: checksum.to_vec() })
        },
        Err(reason) => Body::Failed(to_wire(&reason)),
    })
}

/// Makes a volume with what somebody sends.
pub(super) async fn imported(
    way: Way,
    volumes: Arc<Volumes>,
    operation: OperationId,
    effect: VolumeEffect,
) -> Result<VolumeOutcome, JoinError> {
    let (parts, queue) = mpsc::channel(QUEUE_MAX);
    volumes.arrives(effect.spec().id, Incoming::new(queue));
    let all = Arc::clone(&volumes);
    let mut job = spawn_blocking(move || all.run(&effect));
    let arrives = async {
        // What the thread gives up is hung up on by it.
        let last = match arrive(&way, operation, &parts).await {
            Ok(()) => Part::End,
            Err(why) => {
                let text = format!("the import's content did not arrive: {why}");
                let broken = Rejection::new(ErrorCode::TransferFailed, text);
                Part::Failed(broken.remedy("import again"))
            },
        };
        parts.send(last).await.ok();
    };
    tokio::select! {
        ended = &mut job => return ended,
        () = arrives => {},
        () = becomes(|| volumes.is_stopping()) => {},
    }
    drop(parts);
    job.await
}

/// Passes on what is sent, from the dialling to the end.
async fn arrive(
    way: &Way,
    operation: OperationId,
    parts: &mpsc::Sender<Part>,
) -> Result<(), String> {
    let transfer = TransferId::from_u128(operation.as_u128());
    let give_up = Instant::now() + way.idle;
    let (messages, mut answers) = loop {
        match attach(way, transfer).await {
            Ok(attached) => break attached,
            Err(why) if Instant::now() >= give_up => return Err(why),
            // Whoever asked for the import may still be on his way.
            Err(_not_yet) => sleep(DIAL_EVERY).await,
        }
    };
    loop {
        let next = timeout(way.idle, answers.message()).await;
        let next = next.map_err(|_elapsed| idle_for(way.idle))?.map_err(|status| said(&status))?;
        match next.and_then(|next| next.body) {
            Some(to_transfer::Body::Part(bytes)) => {
                if parts.send(Part::Data(bytes)).await.is_err() {
                    // Whoever reads has an opinion of his own.
                    return Ok(());
                }
            },
            Some(to_transfer::Body::End(_)) => break,
            None => return Err("whoever sent it is gone".to_owned()),
        }
    }
    // So the master knows that all of it was taken.
    drop(messages);
    Ok(())
}
