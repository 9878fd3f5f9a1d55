//! An encrypted directory of ext4, with the kernel's fscrypt: a key is given to the mounted file system, and the directory
//! says by which key it is read.
//!
//! Policies of version 2: AES-256-XTS for contents, AES-256-CTS for names (Linux, Documentation/filesystems/fscrypt.rst;
//! the numbers are those of linux/fscrypt.h). The kernel forgets the key when the file system is unmounted. This module
//! keeps no key.

use rustix::io::Errno;
use rustix::ioctl::{self, Opcode};
use std::fmt;
use std::os::fd::BorrowedFd;

/// How long a key is.
pub const LENGTH: usize = 64;
/// Below the root of the image: the root itself cannot be encrypted.
pub const INNER: &str = "volume";

/// `FS_IOC_SET_ENCRYPTION_POLICY`; its number names the first version of its argument.
const SET_POLICY: Opcode = 0x800c_6613;
/// `FS_IOC_GET_ENCRYPTION_POLICY_EX`.
const GET_POLICY: Opcode = 0xc009_6616;
/// `FS_IOC_ADD_ENCRYPTION_KEY`.
const ADD_KEY: Opcode = 0xc050_6617;

const VERSION: u8 = 2;
const AES_256_XTS: u8 = 1;
const AES_256_CTS: u8 = 4;
/// Names are padded to 32 bytes.
const PAD_32: u8 = 3;
/// A key is named by what the kernel derives from it.
const BY_IDENTIFIER: u32 = 2;

/// The key of a volume. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; LENGTH]);

impl Key {
    /// Of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// What the kernel derives from a key, and what a directory names its key by.
pub type Identifier = [u8; 16];

/// `struct fscrypt_add_key_arg` with a key of 64 bytes.
#[repr(C)]
struct AddKey {
    kind: u32,
    reserved: u32,
    identifier: [u8; 32],
    length: u32,
    key_id: u32,
    more: [u32; 8],
    key: [u8; LENGTH],
}

/// `struct fscrypt_policy_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Policy {
    version: u8,
    contents: u8,
    names: u8,
    flags: u8,
    data_unit: u8,
    reserved: [u8; 3],
    identifier: Identifier,
}

/// `struct fscrypt_get_policy_ex_arg`.
#[repr(C)]
struct GetPolicy {
    length: u64,
    policy: Policy,
}

/// What is wrong where ext4 encrypts nothing.
pub const NOT_IN_KERNEL: &str =
    "this kernel encrypts nothing on ext4 (it is built without CONFIG_FS_ENCRYPTION)";

/// Does the ext4 of this kernel say that it cannot encrypt? One that is not loaded yet says nothing.
#[must_use]
pub fn is_missing() -> bool {
    let features = std::path::Path::new("/sys/fs/ext4/features");
    features.is_dir() && !features.join("encryption").exists()
}

/// Gives the key to the file system of this root until it is unmounted.
///
/// # Errors
/// The kernel has no fscrypt (OPNOTSUPP or NOTTY), or refuses.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn add_key(root: BorrowedFd<'_>, key: &Key) -> Result<Identifier, Errno> {
    let mut argument = AddKey {
        kind: BY_IDENTIFIER,
        reserved: 0,
        identifier: [0; 32],
        length: 64,
        key_id: 0,
        more: [0; 8],
        key: key.0,
    };
    // SAFETY: FS_IOC_ADD_ENCRYPTION_KEY reads `struct fscrypt_add_key_arg`, which AddKey mirrors, and as many bytes of the
    // key behind it as it says, and writes the identifier.
    unsafe {
        ioctl::ioctl(root, ioctl::Updater::<ADD_KEY, AddKey>::new(&mut argument))?;
    }
    let mut identifier = Identifier::default();
    identifier.copy_from_slice(&argument.identifier[..16]);
    Ok(identifier)
}

/// Encrypts an empty directory by the key of this identifier, which the file system has.
///
/// # Errors
/// The directory is not empty (NOTEMPTY), has another policy (EXIST), or the file system encrypts nothing (OPNOTSUPP).
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn encrypt(directory: BorrowedFd<'_>, identifier: Identifier) -> Result<(), Errno> {
    let policy = Policy {
        version: VERSION,
        contents: AES_256_XTS,
        names: AES_256_CTS,
        flags: PAD_32,
        data_unit: 0,
        reserved: [0; 3],
        identifier,
    };
    // SAFETY: FS_IOC_SET_ENCRYPTION_POLICY reads the policy of the version that its first byte names, here
    // `struct fscrypt_policy_v2`, which Policy mirrors.
    unsafe { ioctl::ioctl(directory, ioctl::Setter::<SET_POLICY, Policy>::new(policy)) }
}

/// By which key a directory is encrypted; absent when it is not.
///
/// # Errors
/// It is encrypted in another way (INVAL), or the kernel refuses.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn encrypted_by(directory: BorrowedFd<'_>) -> Result<Option<Identifier>, Errno> {
    let nothing = Policy {
        version: 0,
        contents: 0,
        names: 0,
        flags: 0,
        data_unit: 0,
        reserved: [0; 3],
        identifier: Identifier::default(),
    };
    let length = u64::try_from(size_of::<Policy>()).unwrap_or_default();
    let mut argument = GetPolicy { length, policy: nothing };
    // SAFETY: FS_IOC_GET_ENCRYPTION_POLICY_EX writes a policy of at most the length it is told, and its length.
    let asked = unsafe {
        ioctl::ioctl(directory, ioctl::Updater::<GET_POLICY, GetPolicy>::new(&mut argument))
    };
    match asked {
        Ok(()) if argument.policy.version == VERSION => Ok(Some(argument.policy.identifier)),
        Ok(()) => Err(Errno::INVAL),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}
