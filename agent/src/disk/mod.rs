//! The agent's disks: where volumes lie, how a disk is recognised, and the deleter that stays inside one tree.

pub mod remove;
