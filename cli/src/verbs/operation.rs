//! Operations: submit, wait, show.

use crate::args::{Change, Operation};
use crate::client::Client;
use crate::failure::{Failure, exit};
use crate::output::{self, Format, Show, note};
use crate::resolve::{Kind, PREFIX_MIN, find};
use crate::rows::OperationRow;
use crate::verbs::waiting;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::OperationId;
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::operator::Request;
use std::time::Duration;
use tokio::time::Instant;

/// How long one call waits; the server allows ten minutes.
const WAIT_ONCE: Duration = Duration::from_secs(300);

const OPERATION: Kind =
    Kind { noun: "operation", unknown: ErrorCode::UnknownOperation, list: "berth operation list" };

/// Submits and, unless detached, waits for the end. Answers the record, or nothing when detached (the id is
/// printed then).
pub(crate) async fn submit(
    client: &Client,
    request: Request,
    change: &Change,
    show: &Show,
) -> Result<Option<OperationRecord>, Failure> {
    let id = change.request_id.unwrap_or_else(Client::mint);
    let accepted = client.submit(id, request, change).await.map_err(|mut failure| {
        if failure.error.code == ErrorCode::Unavailable {
            failure.error = failure.error.remedy(format!(
                "it may have been accepted: repeat the command with --request-id {id}, it does not act twice"
            ));
        }
        failure
    })?;
    if change.detach {
        match show.output {
            Format::Json | Format::Yaml => {
                let value = serde_json::json!({ "operation_id": accepted.to_string() });
                output::document(&value, show)?;
            },
            Format::Table | Format::Wide | Format::Name => output::line(&accepted.to_string())?,
        }
        return Ok(None);
    }
    wait(client, accepted, change.timeout).await.map(Some)
}

/// Whoever is asked may take as long as the command is to wait.
pub(crate) async fn within<T>(
    change: &Change,
    who: &str,
    asked: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(change.timeout, asked).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            let patience = berth_model::units::format_duration(change.timeout);
            let error = Rejection::new(
                ErrorCode::TimedOut,
                format!("{who} has not answered within {patience}; nothing was changed"),
            );
            Err(Failure::new(
                exit::TIMED_OUT,
                error.remedy("see `berth agent list`, then try again"),
            ))
        },
    }
}

/// What was asked for before under the request id of a command.
#[derive(Debug)]
pub(crate) struct Earlier(Option<OperationRecord>);

/// Looks for it; an id that was used for another kind of operation is refused.
pub(crate) async fn earlier(
    client: &Client,
    kinds: &[OperationKind],
    change: &Change,
) -> Result<Earlier, Failure> {
    let Some(id) = change.request_id else { return Ok(Earlier(None)) };
    let records = client.operations().await?;
    let found = records.into_iter().find(|record| record.id == id);
    match found {
        Some(record) if !kinds.contains(&record.kind) => Err(reused(&record)),
        found => Ok(Earlier(found)),
    }
}

fn reused(record: &OperationRecord) -> Failure {
    let error = Rejection::new(
        ErrorCode::RequestIdReused,
        format!("request id {} was used for {} ({})", record.id, record.kind, record.object),
    );
    Failure::from(error.remedy("leave --request-id out, or give a new one"))
}

impl Earlier {
    /// True when the command is submitted as it is, without a trial and a question: the master compares it with what the id
    /// was used for, and does not act twice.
    pub(crate) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// What the first run removed cannot be found by name any more: then that run stands for this one, if it was about
    /// what `text` names.
    pub(crate) async fn stands_for(
        self,
        client: &Client,
        text: &str,
        (change, show): (&Change, &Show),
        absent: Failure,
    ) -> Result<(), Failure> {
        let Some(record) = self.0 else { return Err(absent) };
        if !concerns(&record, text) {
            return Err(reused(&record));
        }
        if change.detach {
            return output::line(&record.id.to_string());
        }
        let record = wait(client, record.id, change.timeout).await?;
        output::one(&OperationRow::new(&record, client.now()), show)
    }
}

/// Can `text` have named what the operation was about? Objects name things by name and id; of a reservation they say what
/// it held.
fn concerns(record: &OperationRecord, text: &str) -> bool {
    let name = text.rsplit(['/', '@']).next().unwrap_or(text);
    let is_part = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let ids = record.volumes.iter().map(ToString::to_string);
    let is_id = |word: &str| word.chars().all(|c| c.is_ascii_hexdigit());
    let prefix = |id: &str| text.len() >= PREFIX_MIN && is_id(id) && id.starts_with(text);
    record.kind == OperationKind::Unreserve
        || record.object.split(is_part).any(|word| word == name || word == text || prefix(word))
        || ids.into_iter().any(|id| prefix(&id))
}

/// As [`submit`], and prints the operation.
pub(crate) async fn submit_and_show(
    client: &Client,
    request: Request,
    change: &Change,
    show: &Show,
) -> Result<(), Failure> {
    match submit(client, request, change, show).await? {
        Some(record) => output::one(&OperationRow::new(&record, client.now()), show),
        None => Ok(()),
    }
}

/// Waits for the end; a failed operation is a failure with the reason's own exit code.
pub(crate) async fn wait(
    client: &Client,
    id: OperationId,
    patience: Duration,
) -> Result<OperationRecord, Failure> {
    let record = tokio::select! {
        record = until_end(client, id, patience) => record?,
        _ = tokio::signal::ctrl_c() => {
            let error = Rejection::new(ErrorCode::TimedOut, format!("stopped watching operation {id}"))
                .remedy(format!("it goes on; see `berth operation show {id}`"));
            return Err(Failure::new(exit::INTERRUPTED, error));
        },
    };
    for text in &record.notes {
        note(text);
    }
    match &record.state {
        OperationState::Done => Ok(record),
        OperationState::Failed(error) => Err(Failure::from(error.clone())),
        OperationState::Accepted => {
            let waits = waiting::why(client, &record).await;
            let waits = waits.map_or_else(String::new, |why| format!(": {why}"));
            let error = Rejection::new(
                ErrorCode::TimedOut,
                format!(
                    "operation {id} has not ended within {}{waits}",
                    berth_model::units::format_duration(patience)
                ),
            );
            Err(Failure::new(
                exit::TIMED_OUT,
                error.remedy(format!("it goes on; wait with `berth operation wait {id}`")),
            ))
        },
    }
}

/// Asks again as long as the server's own limit is the shorter one.
async fn until_end(
    client: &Client,
    id: OperationId,
    patience: Duration,
) -> Result<OperationRecord, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let record = client.wait(id, left.min(WAIT_ONCE)).await.map_err(|mut failure| {
            if failure.error.code == ErrorCode::Unavailable {
                let remedy =
                    format!("operation {id} goes on; wait with `berth operation wait {id}`");
                failure.error = failure.error.remedy(remedy);
            }
            failure
        })?;
        if record.state.is_final() || left <= WAIT_ONCE {
            return Ok(record);
        }
    }
}

pub(crate) async fn run(command: &Operation) -> Result<(), Failure> {
    let (Operation::List(read) | Operation::Show { read, .. } | Operation::Wait { read, .. }) =
        command;
    let client = Client::connect(&read.connect).await?;
    let now = client.now();
    let mut records = client.operations().await?;
    records.sort_by_key(|r| (r.accepted, r.id));
    match command {
        Operation::List(_) => {
            let rows: Vec<OperationRow> =
                records.iter().map(|r| OperationRow::new(r, now)).collect();
            output::list(&rows, &read.show)
        },
        Operation::Show { operation, .. } => {
            let found =
                find(&OPERATION, &records, operation, |r| r.id.to_string(), |_| Vec::new())?;
            let waits_for = waiting::why(&client, found).await;
            let row = OperationRow { waits_for, ..OperationRow::new(found, now) };
            output::one(&row, &read.show)
        },
        Operation::Wait { operation, timeout, .. } => {
            let found =
                find(&OPERATION, &records, operation, |r| r.id.to_string(), |_| Vec::new())?;
            let record = wait(&client, found.id, *timeout).await?;
            output::one(&OperationRow::new(&record, now), &read.show)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::audit::Said;
    use berth_model::id::VolumeId;
    use berth_model::units::Timestamp;

    #[test]
    fn an_operation_stands_only_for_what_it_was_about() {
        let record = |kind, object: &str| OperationRecord {
            id: OperationId::from_u128(1),
            kind,
            fingerprint: 0,
            framework: None,
            agent: None,
            volumes: vec![VolumeId::from_u128(0xabcd_0000_0000_0000_0000_0000_0000_0001)],
            object: object.to_owned(),
            state: OperationState::Done,
            notes: Vec::new(),
            accepted: Timestamp::default(),
            finished: None,
            orphan: None,
            said: Said::default(),
            disk: None,
            wipe: None,
            snapshot: None,
        };
        let volume = record(OperationKind::Destroy, "volume data.2 of role storage/db");
        let snapshot =
            record(OperationKind::DeleteSnapshot, "snapshot one of volume a (ffff0123456789)");
        for (record, text, wanted) in [
            (&volume, "data.2", true),
            (&volume, "storage/db/data.2", true),
            (&volume, "abcd", true),
            (&volume, "data", false),
            (&volume, "abc", false),
            (&volume, "logs", false),
            (&snapshot, "one", true),
            (&snapshot, "a@one", true),
            (&snapshot, "ffff01", true),
            (&snapshot, "a@two", false),
            (&record(OperationKind::Unreserve, "disk(storage/db):64"), "1234abcd", true),
        ] {
            assert_eq!(concerns(record, text), wanted, "{text} of {}", record.object);
        }
    }
}
