//! Values about wiping, for the round trips.

use crate::nouns::{arc, bytes, operation_id};
use berth_model::wipe::{LedgerWipe, Wipe, WipeAbility, WipeStage, Wiped};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub fn wipe() -> BoxedStrategy<Wipe> {
    select(Wipe::ALL.to_vec()).boxed()
}

pub fn abilities() -> BoxedStrategy<Vec<WipeAbility>> {
    let one = (arc(), wipe(), of(".*")).prop_map(|(driver, method, refused)| WipeAbility {
        driver,
        method,
        refused,
    });
    vec(one, 0..4).boxed()
}

pub fn wiped() -> BoxedStrategy<Wiped> {
    (wipe(), bytes(), arc())
        .prop_map(|(method, bytes, driver)| Wiped { method, bytes, driver })
        .boxed()
}

pub fn ledger_wipe() -> BoxedStrategy<LedgerWipe> {
    let stage = prop_oneof![
        Just(WipeStage::Wanted),
        bytes().prop_map(WipeStage::Begun),
        bytes().prop_map(WipeStage::Done),
    ];
    (of(operation_id()), wipe(), stage)
        .prop_map(|(operation, method, stage)| LedgerWipe { operation, method, stage })
        .boxed()
}
