//! How an agent is asked to stop.

use super::Error;
use berth_model::error::{ErrorCode, Rejection};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// What becomes of the tasks when the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// They go on and are adopted by the next start.
    LeaveTasks,
    /// They are ended first: SIGTERM, their grace, SIGKILL.
    EndTasks,
}

/// Turns signals into requests: SIGTERM and SIGINT leave the tasks, SIGUSR1 ends them first.
///
/// # Errors
/// The system refuses to deliver signals.
pub fn signals() -> Result<mpsc::Receiver<Stop>, Error> {
    let failed = |e: std::io::Error| {
        Error::Setting(Rejection::new(
            ErrorCode::Internal,
            format!("signals cannot be received: {e}"),
        ))
    };
    let on = |kind| signal(kind).map_err(failed);
    let mut term = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut user: Signal = on(SignalKind::user_defined1())?;
    let (asked, stop) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let wanted = tokio::select! {
                _term = term.recv() => Stop::LeaveTasks,
                _interrupt = interrupt.recv() => Stop::LeaveTasks,
                _user = user.recv() => Stop::EndTasks,
            };
            if asked.send(wanted).await.is_err() {
                return;
            }
        }
    });
    Ok(stop)
}
