//! The ledger's tests at its boundary: both disks, crashes at every call, rot in every byte, and broken variants that must be noticed.
//!
//! One program, so that the world that runs scripts and checks histories is compiled once.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod world;
