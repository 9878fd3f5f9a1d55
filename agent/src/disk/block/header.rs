//! What Berth writes on a raw device: which disk it is, and the volume that has it. The first MiB is Berth's, the rest the
//! volume's; no task sees the first.
//!
//! Layout: two copies of one text of at most 4 KiB, at the offsets 0 and 64 KiB. A change writes the copy that is not the
//! newest and syncs it. Invariant: whatever a crash leaves of one write, the other copy is whole, and the newest whole one
//! counts; so a change is there as a whole or not at all.

use crate::disk::fs::Node;
use crate::disk::marker::{self, Fields, MarkerError};
use crate::disk::probe::DriverKind;
use crate::volume::identity::{Binding, Home, Identity};
use berth_model::id::{AgentId, ClusterId, DiskId};
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// Where the volume begins.
pub const RESERVED: u64 = 1 << 20;
const KIND: &str = "berth-block";
pub(super) const COPIES: [u64; 2] = [0, 64 << 10];
pub(super) const LENGTH: usize = 4096;

/// Where the volume of a device is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In use or ready for it.
    Live,
    /// Destroyed, to be had back.
    Trash,
    /// Being deleted; never restored.
    Going,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Live, Self::Trash, Self::Going];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Trash => "trash",
            Self::Going => "going",
        }
    }
}

impl std::str::FromStr for Stage {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or(())
    }
}

/// What is written on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which disk it is.
    pub disk: DiskId,
    /// Whose.
    pub agent: AgentId,
    /// Of which cluster, once known.
    pub cluster: Option<ClusterId>,
    /// What the hardware says it is; empty where it says nothing.
    pub serial: String,
    /// The volume that has it.
    pub volume: Option<(Stage, Identity)>,
    /// How much of a volume that is going is wiped, from its beginning.
    pub wiped: u64,
}

/// Why there is no header to go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// There was one once: a copy begins as one and none is whole.
    Damaged(MarkerError),
    /// The device does not answer.
    Io(Errno),
}

impl Header {
    /// One of a device without a volume.
    #[must_use]
    pub fn empty(&self) -> Self {
        Self { volume: None, wiped: 0, ..self.clone() }
    }

    /// The same with its volume in another stage.
    #[must_use]
    pub fn at_stage(&self, stage: Stage) -> Self {
        let volume = self.volume.clone().map(|(_before, identity)| (stage, identity));
        Self { volume, wiped: 0, ..self.clone() }
    }

    /// The same with a volume.
    #[must_use]
    pub fn with(&self, stage: Stage, spec: &VolumeSpec) -> Self {
        let home = Home { agent: self.agent, cluster: self.cluster, disk: self.disk };
        let identity = Identity::of(spec, home, DriverKind::Block, Binding::Attribute);
        Self { volume: Some((stage, identity)), wiped: 0, ..self.clone() }
    }

    /// The same with so much of its volume wiped.
    #[must_use]
    pub fn wiped_to(&self, wiped: u64) -> Self {
        Self { wiped, ..self.clone() }
    }

    fn encode(&self, sequence: u64) -> Result<Vec<u8>, Errno> {
        let mut fields = vec![("sequence", sequence.to_string()), ("serial", self.serial.clone())];
        match &self.volume {
            Some((stage, identity)) => {
                fields.push(("stage", stage.as_str().to_owned()));
                if self.wiped > 0 {
                    fields.push(("wiped", self.wiped.to_string()));
                }
                fields.extend(identity.fields());
            },
            None => {
                fields.push(("agent", self.agent.to_string()));
                fields.push(("disk", self.disk.to_string()));
                fields.extend(self.cluster.map(|cluster| ("cluster", cluster.to_string())));
            },
        }
        let mut bytes = marker::encode(KIND, &fields).into_bytes();
        if bytes.len() >= LENGTH {
            return Err(Errno::NAMETOOLONG);
        }
        bytes.resize(LENGTH, 0);
        Ok(bytes)
    }

    fn decode(fields: &Fields) -> Result<(u64, Self), MarkerError> {
        let volume = match fields.get("stage") {
            Some(_) => Some((marker::value(fields, "stage")?, Identity::decode(fields)?)),
            None => None,
        };
        let cluster = match fields.get("cluster") {
            Some(_) => Some(marker::value(fields, "cluster")?),
            None => None,
        };
        let header = Self {
            disk: marker::value(fields, "disk")?,
            agent: marker::value(fields, "agent")?,
            cluster,
            serial: marker::value(fields, "serial")?,
            volume,
            wiped: match fields.get("wiped") {
                Some(_) => marker::value(fields, "wiped")?,
                None => 0,
            },
        };
        Ok((marker::value(fields, "sequence")?, header))
    }
}

/// The newest copy, with its sequence number and which one it is; nothing on a device that never had a header.
pub(super) fn newest(device: &Node) -> Result<Option<(u64, usize, Header)>, ReadError> {
    let mut found: Option<(u64, usize, Header)> = None;
    let mut damage = None;
    for (index, at) in COPIES.into_iter().enumerate() {
        let bytes = device.read_at(at, LENGTH).map_err(ReadError::Io)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if !text.starts_with(KIND.as_bytes()) {
            continue;
        }
        match marker::decode(KIND, text).and_then(|fields| Header::decode(&fields)) {
            Ok((sequence, header)) => {
                if found.as_ref().is_none_or(|(before, _index, _header)| *before < sequence) {
                    found = Some((sequence, index, header));
                }
            },
            Err(error) => damage = Some(error),
        }
    }
    match (found, damage) {
        (None, Some(error)) => Err(ReadError::Damaged(error)),
        (found, _other) => Ok(found),
    }
}

/// What is written on the device; nothing when no header ever was.
///
/// # Errors
/// See [`ReadError`].
pub fn read(device: &Node) -> Result<Option<Header>, ReadError> {
    Ok(newest(device)?.map(|(_sequence, _index, header)| header))
}

/// Writes and syncs the header.
///
/// # Errors
/// The old or the new one counts.
pub fn write(device: &Node, header: &Header) -> Result<(), Errno> {
    let (sequence, index) = match newest(device) {
        Ok(Some((sequence, index, _header))) => (sequence + 1, 1 - index),
        Ok(None) | Err(ReadError::Damaged(_)) => (1, 0),
        Err(ReadError::Io(errno)) => return Err(errno),
    };
    let bytes = header.encode(sequence)?;
    let at = COPIES.get(index).copied().unwrap_or_default();
    device.write_at(at, &bytes)?;
    device.sync()
}

/// Makes the header that counts durable: whoever wrote it may have died before that.
///
/// # Errors
/// The device does not answer.
pub fn settle(device: &Node) -> Result<(), Errno> {
    device.sync()
}
