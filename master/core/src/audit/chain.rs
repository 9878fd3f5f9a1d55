//! Hashes of entries, and the check of a run of entries.

use berth_model::audit::{AuditChange, AuditEntry, AuditHash, AuditHead, Who};
use berth_model::id::ClusterId;
use sha2::{Digest, Sha256};

const DOMAIN: &[u8] = b"berth audit 1";

/// The hash before the first entry of a cluster: a log of another cluster does not fit.
#[must_use]
pub fn beginning(cluster: ClusterId) -> AuditHash {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(b" cluster ");
    hasher.update(cluster.as_u128().to_be_bytes());
    AuditHash(hasher.finalize().into())
}

/// The hash of an entry behind the one with the hash `previous`. The entry's own hash is not looked at.
#[must_use]
pub fn entry_hash(previous: &AuditHash, entry: &AuditEntry) -> AuditHash {
    let AuditEntry {
        seq,
        at,
        phase,
        operation,
        kind,
        who,
        reason,
        object,
        agent,
        volumes,
        changes,
        error,
        notes,
        hash: _,
    } = entry;
    let mut fields = Fields(Sha256::new());
    fields.0.update(DOMAIN);
    fields.0.update(previous.0);
    fields.add(1, &seq.to_be_bytes());
    fields.add(2, &at.ms().to_be_bytes());
    fields.add(3, phase.as_str().as_bytes());
    fields.maybe(4, operation.map(|id| id.to_string()).as_deref());
    fields.maybe(5, kind.map(berth_model::operation::OperationKind::as_str));
    fields.add(6, who.kind().as_bytes());
    match who {
        Who::Unknown | Who::Berth => {},
        Who::Claimed(name) => fields.add(7, name.as_bytes()),
        Who::Framework { id, name, principal } => {
            fields.add(7, name.as_bytes());
            fields.add(8, id.to_string().as_bytes());
            fields.maybe(9, principal.as_ref().map(ToString::to_string).as_deref());
        },
    }
    fields.maybe(10, reason.as_deref());
    fields.add(11, object.as_bytes());
    fields.maybe(12, agent.map(|id| id.to_string()).as_deref());
    for volume in volumes {
        fields.add(13, volume.to_string().as_bytes());
    }
    for AuditChange { object, what, before, after } in changes {
        fields.add(14, object.as_bytes());
        fields.add(15, what.as_bytes());
        fields.maybe(16, before.as_deref());
        fields.maybe(17, after.as_deref());
    }
    if let Some(error) = error {
        fields.add(18, error.code.as_str().as_bytes());
        fields.add(19, error.message.as_bytes());
        fields.add(20, error.remedy.as_bytes());
        fields.add(21, error.field.as_bytes());
    }
    for note in notes {
        fields.add(22, note.as_bytes());
    }
    AuditHash(fields.0.finalize().into())
}

/// Fields with numbers and lengths, so that no two entries have the same bytes.
struct Fields(Sha256);

impl Fields {
    fn add(&mut self, number: u8, bytes: &[u8]) {
        self.0.update([number]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }
    fn maybe(&mut self, number: u8, text: Option<&str>) {
        if let Some(text) = text {
            self.add(number, text.as_bytes());
        }
    }
}

/// Checks entries one after the other.
#[derive(Clone, Debug)]
pub struct Verifier {
    seq: u64,
    hash: AuditHash,
    checked: u64,
    broken: Option<(u64, String)>,
}

impl Verifier {
    /// Begins behind the entry `seq` with this hash.
    #[must_use]
    pub const fn behind(seq: u64, hash: AuditHash) -> Self {
        Self { seq, hash, checked: 0, broken: None }
    }
    /// The next stored entry, or why what is stored there is none. After a fault nothing more is looked at.
    pub fn take(&mut self, found: Result<&AuditEntry, String>) {
        if self.broken.is_some() {
            return;
        }
        let wanted = self.seq + 1;
        let fault = match found {
            Err(why) => Some(format!("it cannot be read: {why}")),
            Ok(entry) if entry.seq != wanted => {
                Some(format!("it is missing: entry {} lies in its place", entry.seq))
            },
            Ok(entry) if entry_hash(&self.hash, entry) != entry.hash => Some(
                "its hash does not follow from the entry before and its content: one of the two was changed"
                    .to_owned(),
            ),
            Ok(entry) => {
                self.seq = entry.seq;
                self.hash = entry.hash;
                self.checked += 1;
                None
            },
        };
        self.broken = fault.map(|why| (wanted, why));
    }
    /// What is stored has ended although the log goes on to `head`.
    pub fn end(&mut self, head: &AuditHead) {
        if self.broken.is_some() {
            return;
        }
        if self.seq < head.seq {
            let why = format!("it is missing, as is all behind it up to {}", head.seq);
            self.broken = Some((self.seq + 1, why));
        } else if self.seq == head.seq && self.hash != head.hash {
            let why = "the log's head has another hash than its last entry".to_owned();
            self.broken = Some((self.seq, why));
        }
    }
    /// The last good entry and its hash.
    #[must_use]
    pub const fn last(&self) -> (u64, AuditHash) {
        (self.seq, self.hash)
    }
    /// How many entries were good.
    #[must_use]
    pub const fn checked(&self) -> u64 {
        self.checked
    }
    /// The first fault.
    #[must_use]
    pub const fn broken(&self) -> Option<&(u64, String)> {
        self.broken.as_ref()
    }
}
