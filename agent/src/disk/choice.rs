//! The driver of a disk and what volumes it can make.

use super::image::Format;
use super::probe::DriverKind;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;

/// A driver and why it was picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// For volumes made from now on; what is there keeps the driver it was made with.
    pub driver: DriverKind,
    /// For people.
    pub reason: String,
    /// The kinds of file systems that images may have, the preferred one first.
    pub formats: Vec<Format>,
    /// Why no volume can be made now, although those that are there can be used.
    pub refusal: Option<Rejection>,
    /// Why images can have no snapshots here; nothing when they can, or when it was not tried.
    pub unshared: Option<String>,
}

impl Choice {
    pub(crate) fn plain(driver: DriverKind, reason: impl Into<String>) -> Self {
        Self { driver, reason: reason.into(), formats: Vec::new(), refusal: None, unshared: None }
    }

    /// The trial did not succeed on a disk that has something to keep.
    pub(crate) fn kept(driver: DriverKind, refusal: Rejection) -> Self {
        let reason = format!("nothing new can be made on it: {}", refusal.message);
        Self { refusal: Some(refusal), ..Self::plain(driver, reason) }
    }

    /// The driver for a volume of `size` bytes.
    ///
    /// # Errors
    /// No image can be so small, or nothing can be made now.
    pub fn for_size(&self, size: u64) -> Result<DriverKind, Rejection> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let DriverKind::Image(_) = self.driver else { return Ok(self.driver) };
        Self::fitting(&self.formats, size)
    }

    /// The driver for an encrypted volume of this size.
    ///
    /// # Errors
    /// Nothing can be encrypted here, no image can be so small, or nothing can be made now.
    pub fn encrypting(&self, size: u64) -> Result<DriverKind, Rejection> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        if self.encrypts() {
            return Self::fitting(&[Format::Ext4], size);
        }
        let text = format!(
            "driver {} encrypts nothing: only images of ext4 are encrypted",
            self.driver.as_str()
        );
        Err(Rejection::new(ErrorCode::Unsupported, text)
            .remedy("use a disk whose driver is image:ext4 (berth disk list)"))
    }

    /// Can volumes be encrypted?
    #[must_use]
    pub fn encrypts(&self) -> bool {
        matches!(self.driver, DriverKind::Image(_)) && self.formats.contains(&Format::Ext4)
    }

    fn fitting(formats: &[Format], size: u64) -> Result<DriverKind, Rejection> {
        let fitting = formats.iter().find(|format| format.least() <= size);
        fitting.map(|format| DriverKind::Image(*format)).ok_or_else(|| {
            let least = formats.iter().map(|format| format.least()).min().unwrap_or_default();
            let text = format!(
                "a file system of {} cannot be made on this disk: {} is the least",
                Bytes::new(size),
                Bytes::new(least)
            );
            Rejection::new(ErrorCode::InvalidArgument, text)
                .remedy("ask for more, or use another disk")
        })
    }
}
