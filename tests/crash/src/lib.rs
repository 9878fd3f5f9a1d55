//! Crash points of disks and volume drivers: the code that runs on real disks, on a simulated file system that loses,
//! reorders and tears whatever was not synced.
//!
//! `sim` is the file system, `scene` what an agent does on it, `judge` what must be so afterwards, `explore` the search
//! through all crashes. `judge` shares no code with the drivers: it reads the simulated disk by itself.

pub mod errors;
pub mod explore;
pub mod judge;
pub mod scene;
pub mod sequences;
pub mod sim;
