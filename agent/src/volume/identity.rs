//! The identity of a volume on a disk: a marker file that tasks do not see, and an attribute of the directory
//! itself that binds the two.
//!
//! A directory is the volume only if both say so. Where the file system takes no attributes, the marker holds the
//! directory's inode instead.

use crate::disk::fs::Node;
use crate::disk::marker::{self, Fields, MarkerError};
use crate::disk::probe::DriverKind;
use crate::disk::remove::{VOLUME_XATTR, VOLUME_XATTR_UNPRIVILEGED};
use berth_model::id::{AgentId, ClusterId, DiskId, Principal, VolumeId, VolumeName};
use berth_model::resources::DiskSource;
use berth_model::role::Role;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// The kind of a volume's marker file.
pub const KIND: &str = "berth-volume";
const FSCRYPT: &str = "fscrypt";
const ATTRIBUTE_KIND: &str = "berth-volume-directory";

/// Whose disk the volume lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The agent.
    pub agent: AgentId,
    /// Its cluster, once known.
    pub cluster: Option<ClusterId>,
    /// The disk.
    pub disk: DiskId,
}

/// What ties the marker to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The directory carries an attribute with the same identity.
    Attribute,
    /// The directory has this inode.
    Inode(u64),
}

/// A volume's marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where it belongs.
    pub home: Home,
    /// Which volume.
    pub id: VolumeId,
    /// In which life.
    pub generation: u64,
    /// Its name when it was made.
    pub name: VolumeName,
    /// Its owner.
    pub role: Role,
    /// Who created it.
    pub principal: Option<Principal>,
    /// Its size.
    pub size: Bytes,
    /// What made it.
    pub driver: DriverKind,
    /// What ties this marker to the directory.
    pub binding: Binding,
    /// Its data are encrypted by a key of its own.
    pub encrypted: bool,
    /// The project whose quota keeps its size, when that is how it is kept.
    pub project: Option<u32>,
}

impl Identity {
    /// The identity a volume is made with.
    #[must_use]
    pub fn of(spec: &VolumeSpec, home: Home, driver: DriverKind, binding: Binding) -> Self {
        Self {
            home,
            id: spec.id,
            generation: spec.generation,
            name: spec.name.clone(),
            role: spec.role.clone(),
            principal: spec.principal.clone(),
            size: spec.size,
            driver,
            binding,
            encrypted: spec.encrypted,
            project: None,
        }
    }

    /// The text of the marker file.
    #[must_use]
    pub fn encode(&self) -> String {
        marker::encode(KIND, &self.fields())
    }

    /// What a marker holds.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = self.short();
        fields.extend([
            ("name", self.name.to_string()),
            ("role", self.role.to_string()),
            ("size", self.size.get().to_string()),
            ("driver", self.driver.as_str().to_owned()),
        ]);
        fields.push(match self.binding {
            Binding::Attribute => ("binding", "attribute".to_owned()),
            Binding::Inode(inode) => ("binding", inode.to_string()),
        });
        if let Some(principal) = &self.principal {
            fields.push(("principal", principal.to_string()));
        }
        if let Some(cluster) = self.home.cluster {
            fields.push(("cluster", cluster.to_string()));
        }
        if self.encrypted {
            fields.push(("encryption", FSCRYPT.to_owned()));
        }
        if let Some(project) = self.project {
            fields.push(("project", project.to_string()));
        }
        fields
    }

    /// Reads a marker file's fields.
    ///
    /// # Errors
    /// Says what is missing or cannot be read.
    pub fn decode(fields: &Fields) -> Result<Self, MarkerError> {
        let optional = |key| fields.contains_key(key);
        let binding: String = marker::value(fields, "binding")?;
        let driver: DriverKind = marker::value(fields, "driver")?;
        Ok(Self {
            home: Home {
                agent: marker::value(fields, "agent")?,
                disk: marker::value(fields, "disk")?,
                cluster: if optional("cluster") {
                    Some(marker::value(fields, "cluster")?)
                } else {
                    None
                },
            },
            id: marker::value(fields, "volume")?,
            generation: marker::value(fields, "generation")?,
            name: marker::value(fields, "name")?,
            role: marker::value(fields, "role")?,
            principal: if optional("principal") {
                Some(marker::value(fields, "principal")?)
            } else {
                None
            },
            size: Bytes::new(marker::value(fields, "size")?),
            driver,
            encrypted: is_encrypted(fields)?,
            project: match driver {
                DriverKind::ProjectQuota => Some(marker::value(fields, "project")?),
                DriverKind::Directory
                | DriverKind::Btrfs
                | DriverKind::Image(_)
                | DriverKind::Mount
                | DriverKind::Block => None,
            },
            binding: if binding == "attribute" {
                Binding::Attribute
            } else {
                Binding::Inode(marker::value(fields, "binding")?)
            },
        })
    }

    /// The text of the directory's attribute.
    #[must_use]
    pub fn attribute(&self) -> String {
        marker::encode(ATTRIBUTE_KIND, &self.short())
    }

    /// The volume this marker describes.
    #[must_use]
    pub fn spec(&self, source: DiskSource) -> VolumeSpec {
        VolumeSpec {
            id: self.id,
            generation: self.generation,
            name: self.name.clone(),
            role: self.role.clone(),
            principal: self.principal.clone(),
            source,
            size: self.size,
            access: berth_model::access::Access::default(),
            shared: false,
            encrypted: self.encrypted,
        }
    }

    /// What speaks against this marker being that of `spec` at `home`, in one of the generations.
    #[must_use]
    pub fn contradiction(
        &self,
        spec: &VolumeSpec,
        home: Home,
        generations: &[u64],
    ) -> Option<String> {
        let differs =
            |what: &str, found: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display| {
                Some(format!("its marker says {what} {found}, expected {wanted}"))
            };
        if self.id != spec.id {
            return differs("volume", &self.id, &spec.id);
        }
        if self.home.agent != home.agent {
            return differs("agent", &self.home.agent, &home.agent);
        }
        if self.home.disk != home.disk {
            return differs("disk", &self.home.disk, &home.disk);
        }
        if let (Some(found), Some(wanted)) = (self.home.cluster, home.cluster)
            && found != wanted
        {
            return differs("cluster", &found, &wanted);
        }
        if !generations.contains(&self.generation) {
            return differs("generation", &self.generation, &spec.generation);
        }
        // The size is no identity: it changes, and a crash may fall between the ledger and the marker.
        if self.role != spec.role {
            return differs("role", &self.role, &spec.role);
        }
        if self.encrypted != spec.encrypted {
            return differs("encrypted", &self.encrypted, &spec.encrypted);
        }
        None
    }

    fn short(&self) -> Vec<(&'static str, String)> {
        vec![
            ("volume", self.id.to_string()),
            ("generation", self.generation.to_string()),
            ("agent", self.home.agent.to_string()),
            ("disk", self.home.disk.to_string()),
        ]
    }
}

/// How it is encrypted is written down, so that another way can be told from this one.
fn is_encrypted(fields: &Fields) -> Result<bool, MarkerError> {
    match fields.get("encryption").map(String::as_str) {
        None => Ok(false),
        Some(FSCRYPT) => Ok(true),
        Some(other) => Err(MarkerError::Value { key: "encryption", value: other.to_owned() }),
    }
}

/// Which volume and generation a directory's attribute names.
///
/// # Errors
/// The attribute is damaged.
pub fn read_attribute(value: &[u8]) -> Result<(VolumeId, u64, AgentId, DiskId), MarkerError> {
    let fields = marker::decode(ATTRIBUTE_KIND, value)?;
    Ok((
        marker::value(&fields, "volume")?,
        marker::value(&fields, "generation")?,
        marker::value(&fields, "agent")?,
        marker::value(&fields, "disk")?,
    ))
}

/// Puts the attribute on a directory. False where the file system takes none.
///
/// # Errors
/// The file system refuses for another reason.
pub fn write_attribute(directory: &Node, identity: &Identity) -> Result<bool, Errno> {
    let value = identity.attribute();
    for name in [VOLUME_XATTR, VOLUME_XATTR_UNPRIVILEGED] {
        match directory.set_attribute(name, value.as_bytes()) {
            Ok(()) => return Ok(true),
            Err(Errno::PERM | Errno::NOTSUP) => {},
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VolumeSpec {
        VolumeSpec {
            id: VolumeId::from_u128(7),
            generation: 2,
            name: VolumeName::new("data").unwrap(),
            role: Role::new("storage/mysql").unwrap(),
            principal: Some(Principal::new("ops").unwrap()),
            source: DiskSource::Root,
            size: Bytes::from_mib(64),
            access: berth_model::access::Access::default(),
            shared: false,
            encrypted: false,
        }
    }

    #[test]
    fn a_marker_holds_the_whole_identity_and_every_difference_is_named() {
        let home = Home {
            agent: AgentId::from_u128(1),
            cluster: Some(ClusterId::from_u128(2)),
            disk: DiskId::from_u128(3),
        };
        let spec = spec();
        let identity = Identity::of(&spec, home, DriverKind::Btrfs, Binding::Inode(256));
        let fields = marker::decode(KIND, identity.encode().as_bytes()).unwrap();
        assert_eq!(Identity::decode(&fields), Ok(identity.clone()));
        assert_eq!(identity.spec(DiskSource::Root), spec);
        assert_eq!(
            read_attribute(identity.attribute().as_bytes()),
            Ok((spec.id, 2, home.agent, home.disk))
        );
        assert_eq!(identity.contradiction(&spec, home, &[2]), None);
        let unjoined = Home { cluster: None, ..home };
        assert_eq!(identity.contradiction(&spec, unjoined, &[1, 2]), None);

        let resized = VolumeSpec { size: Bytes::from_mib(1), ..spec.clone() };
        assert_eq!(identity.contradiction(&resized, home, &[2]), None);

        let says = |spec: &VolumeSpec, home: Home, generations: &[u64]| {
            identity.contradiction(spec, home, generations).unwrap_or_default()
        };
        let zero = "0000000000000000000000000000000";
        for (text, want) in [
            (
                says(&VolumeSpec { id: VolumeId::from_u128(8), ..spec.clone() }, home, &[2]),
                format!("volume {zero}7, expected {zero}8"),
            ),
            (says(&spec, home, &[1]), "generation 2, expected 2".to_owned()),
            (
                says(&spec, Home { agent: AgentId::from_u128(9), ..home }, &[2]),
                format!("agent {zero}1, expected {zero}9"),
            ),
            (
                says(&spec, Home { disk: DiskId::from_u128(9), ..home }, &[2]),
                format!("disk {zero}3, expected {zero}9"),
            ),
            (
                says(&spec, Home { cluster: Some(ClusterId::from_u128(9)), ..home }, &[2]),
                format!("cluster {zero}2, expected {zero}9"),
            ),
            (
                says(&VolumeSpec { role: Role::new("other").unwrap(), ..spec.clone() }, home, &[2]),
                "role storage/mysql, expected other".to_owned(),
            ),
        ] {
            assert_eq!(text, format!("its marker says {want}"));
        }
    }
}
