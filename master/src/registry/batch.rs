//! From the core's writes to one batch of a store.

use super::Change;
use berth_model::record::RegistryWrite;
use berth_proto::registry;
use std::collections::BTreeSet;

/// Encodes the writes of many decisions as one batch. A record that several of them changed is written once, as the last
/// one left it: a batch is atomic, so nobody can see what came between.
#[must_use]
pub fn encode(writes: &[RegistryWrite]) -> Vec<Change> {
    let mut seen = BTreeSet::new();
    let last = writes.iter().rev().filter(|write| seen.insert(write.key()));
    let mut batch: Vec<Change> = last
        .map(|write| match write {
            RegistryWrite::Put(record) => {
                let (key, value) = registry::encode(record);
                Change::Put { key, value }
            },
            RegistryWrite::Delete(key) => Change::Delete { key: registry::encode_key(key) },
        })
        .collect();
    batch.reverse();
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::id::{AgentId, ClusterId};
    use berth_model::record::{RegistryKey, RegistryRecord};

    #[test]
    fn a_record_changed_twice_is_written_once_as_it_was_left() {
        let agent = AgentId::from_u128(7);
        let seq = |ledger_seq| RegistryWrite::Put(RegistryRecord::AgentSeq { agent, ledger_seq });
        let meta = RegistryWrite::Put(RegistryRecord::Meta {
            cluster: ClusterId::from_u128(1),
            epoch: 2,
            next_framework: 3,
        });
        let gone = RegistryWrite::Delete(RegistryKey::AgentSeq(agent));
        let wanted = encode(&[meta.clone(), seq(9)]);
        assert_eq!(wanted.len(), 2);
        assert_eq!(encode(&[seq(8), gone.clone(), meta.clone(), seq(9)]), wanted);
        assert_eq!(encode(&[seq(8), gone.clone()]), encode(&[gone]));
    }
}
