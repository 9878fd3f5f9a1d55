//! The audit log.

use super::{Read, operation_id};
use berth_model::audit::{AuditHash, Phase};
use berth_model::id::OperationId;
use berth_model::operation::OperationKind;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List who did what and why, the latest last
    #[command(visible_alias = "ls")]
    List(AuditList),
    /// Show one entry: what it was before and after, and its hash
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Its number
        #[arg(value_parser = entry_number)]
        seq: u64,
        #[command(flatten)]
        read: Read,
    },
    /// Compute the chain of hashes again; ends with 9 and names the first entry that is not as it was written
    Verify(AuditVerify),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct AuditList {
    /// Not older: a length of time such as 2h, or a time such as 2026-11-23 or 2026-11-23T08:00:00Z
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Older: a length of time or a time
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// Only this kind of operation, such as DESTROY, or the operation with this id
    #[arg(long, value_parser = of_operation)]
    pub(crate) operation: Option<OfOperation>,
    /// Only what entries say: ACCEPTED, DONE, FAILED, REFUSED, OPENED or TRIMMED
    #[arg(long, value_parser = phase)]
    pub(crate) phase: Option<Phase>,
    /// Only what is about this volume: its id or its beginning, its name, or ROLE/NAME, also when it is gone
    #[arg(long)]
    pub(crate) volume: Option<String>,
    /// Only what somebody caused whose name contains this
    #[arg(long)]
    pub(crate) who: Option<String>,
    /// At most so many, the latest ones
    #[arg(long, default_value_t = 1_000)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) read: Read,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct AuditVerify {
    /// The first entry; the hash of the one before it is taken at its word (default: the first that is there)
    #[arg(long, value_parser = entry_number)]
    pub(crate) from: Option<u64>,
    /// The last entry (default: the last that is there)
    #[arg(long, value_parser = entry_number)]
    pub(crate) to: Option<u64>,
    /// An entry whose hash was noted before, as an earlier check printed it: a log that was written anew has another
    #[arg(long, value_name = "SEQ:HASH", value_parser = known)]
    pub(crate) known: Option<(u64, AuditHash)>,
    #[command(flatten)]
    pub(crate) read: Read,
}

/// A kind of operation, or one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfOperation {
    Kind(OperationKind),
    One(OperationId),
}

fn of_operation(text: &str) -> Result<OfOperation, String> {
    let wanted = text.to_uppercase().replace('-', "_");
    let kind = OperationKind::ALL.into_iter().find(|kind| kind.as_str() == wanted);
    match kind {
        Some(kind) => Ok(OfOperation::Kind(kind)),
        None => operation_id(text).map(OfOperation::One).map_err(|_not_an_id| {
            let kinds: Vec<&str> = OperationKind::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("neither the whole id of an operation nor one of {}", kinds.join(", "))
        }),
    }
}

fn entry_number(text: &str) -> Result<u64, String> {
    let wrong = |_| "not the number of an entry, such as 1207: see `berth audit list`".to_owned();
    match text.parse().map_err(wrong)? {
        0 => Err("the numbers of entries begin at 1".to_owned()),
        seq => Ok(seq),
    }
}

fn phase(text: &str) -> Result<Phase, String> {
    let wanted = text.to_uppercase();
    let found = Phase::ALL.into_iter().find(|phase| phase.as_str() == wanted);
    found.ok_or_else(|| "not one of ACCEPTED, DONE, FAILED, REFUSED, OPENED, TRIMMED".to_owned())
}

fn known(text: &str) -> Result<(u64, AuditHash), String> {
    let (seq, hash) = text.split_once(':').ok_or("write SEQ:HASH")?;
    let seq = seq.parse().map_err(|e| format!("{seq:?} is no number: {e}"))?;
    Ok((seq, hash.parse().map_err(|e: berth_model::audit::HashError| e.to_string())?))
}
