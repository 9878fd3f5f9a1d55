//! The generated messages and services, in modules named as their protobuf packages.
//!
//! Written by the build script from `proto/`; nothing here knows what the messages mean. The Mesos v1
//! messages will be one more package, `mesos.v1`, beside `berth`.

/// Berth's own packages.
#[expect(
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code follows its generators' style"
)]
pub mod berth {
    /// The native interface.
    pub mod v1 {
        tonic::include_proto!("berth.v1");
    }
    /// The master's registry.
    pub mod registry {
        /// The only format so far.
        pub mod v1 {
            tonic::include_proto!("berth.registry.v1");
        }
    }
    /// The agents' ledgers.
    pub mod ledger {
        /// The only format so far.
        pub mod v1 {
            tonic::include_proto!("berth.ledger.v1");
        }
    }
    /// The service scheduler's interface.
    pub mod service {
        /// The only version so far.
        pub mod v1 {
            tonic::include_proto!("berth.service.v1");
        }
    }
}

/// The file descriptors, for tests and tools.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
