//! Arbitrary values of the model: data that comes from outside.

use crate::nouns::*;
use berth_model::id::TransferId;
use berth_model::transfer::{Import, OpenBy, OwnerCount, Progress, Survey, TransferOrder};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::sync::Arc;

pub fn transfer_id() -> BoxedStrategy<TransferId> {
    any::<u128>().prop_map(TransferId::from_u128).boxed()
}
/// A path without detours.
pub fn directory() -> BoxedStrategy<Arc<str>> {
    "(/[a-z][a-z. ]{0,8}){1,4}".prop_map(Arc::from).boxed()
}
pub fn import() -> BoxedStrategy<Import> {
    prop_oneof![directory().prop_map(|path| Import::Directory { path }), Just(Import::Stream),]
        .boxed()
}
pub fn transfer_order() -> BoxedStrategy<TransferOrder> {
    let export = (spec(), of(snapshot_spec())).prop_map(|(volume, snapshot)| {
        TransferOrder::Export { volume: Box::new(volume), snapshot: snapshot.map(Box::new) }
    });
    let survey =
        (directory(), size()).prop_map(|(path, size)| TransferOrder::Survey { path, size });
    prop_oneof![survey, export].boxed()
}
pub fn progress() -> BoxedStrategy<Progress> {
    (bytes(), bytes(), any::<u64>(), any::<u64>())
        .prop_map(|(bytes, bytes_total, entries, entries_total)| Progress {
            bytes,
            bytes_total,
            entries,
            entries_total,
        })
        .boxed()
}
pub fn survey() -> BoxedStrategy<Survey> {
    let owner = (any::<u32>(), any::<u32>(), any::<u64>())
        .prop_map(|(uid, gid, entries)| OwnerCount { uid, gid, entries });
    let who = (any::<u32>(), any::<String>(), any::<String>(), any::<bool>())
        .prop_map(|(pid, command, path, writes)| OpenBy { pid, command, path, writes });
    let counts = proptest::array::uniform10(any::<u64>());
    (
        (arc(), bytes(), bytes(), bytes(), counts),
        (vec(owner, 0..3), vec(any::<String>(), 0..3), vec(who, 0..3), vec(rejection(), 0..3)),
    )
        .prop_map(|((path, bytes, length, size, counts), (owners, mounts, open_by, refusals))| {
            let [
                files,
                directories,
                links,
                pipes,
                sockets,
                devices,
                hard_links,
                sparse,
                attributes,
                acls,
            ] = counts;
            Survey {
                path,
                bytes,
                length,
                files,
                directories,
                links,
                pipes,
                sockets,
                devices,
                hard_links,
                sparse,
                attributes,
                acls,
                owners,
                mounts,
                open_by,
                size,
                refusals,
            }
        })
        .boxed()
}
