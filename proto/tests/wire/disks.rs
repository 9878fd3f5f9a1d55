//! Arbitrary values of the model: what is said of disks, and profiles; and what is refused of them.

#![expect(clippy::unwrap_used, reason = "a case that cannot be written fails the test")]

use crate::nouns::*;
use crate::tasks::{disk, media};
use berth_model::audit::Said;
use berth_model::disk::{Cordon, DiskProfile, DiskRecord, DiskRequest, HealthWish, ProfileRequest};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, ProfileName};
use berth_model::operator::Request;
use berth_model::resources::DiskSource;
use berth_model::view::{AgentState, DiskView};
use berth_proto::convert::{from_wire, to_wire};
use berth_proto::v1;
use berth_proto::v1::submit_request as submit;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

fn reason() -> BoxedStrategy<String> {
    "[^\\p{Cc}]{0,20}".boxed()
}
fn labels() -> BoxedStrategy<BTreeMap<String, String>> {
    btree_map("[a-z0-9]{1,3}[a-z._/-]{0,4}[a-z0-9]", "[^\\p{Cc}]{0,9}", 0..4).boxed()
}
pub fn profile_name() -> BoxedStrategy<ProfileName> {
    "[a-z][a-z0-9-]{0,9}".prop_map(|text| ProfileName::new(&text).unwrap()).boxed()
}
fn cordon() -> BoxedStrategy<Cordon> {
    (reason(), time()).prop_map(|(reason, since)| Cordon { reason, since }).boxed()
}
pub fn disk_record() -> BoxedStrategy<DiskRecord> {
    (disk_id(), agent(), of(cordon()), labels())
        .prop_map(|(disk, agent, cordon, labels)| DiskRecord { disk, agent, cordon, labels })
        .boxed()
}
pub fn disk_profile() -> BoxedStrategy<DiskProfile> {
    let health = select(vec![HealthWish::Ok, HealthWish::Any]);
    (profile_name(), btree_set(media(), 0..4), of(bytes()), of(bytes()), labels(), health)
        .prop_map(|(name, media, one, other, labels, health)| DiskProfile {
            name,
            media,
            size_min: one.min(other).or(one),
            size_max: if other.is_some() { one.max(other) } else { None },
            labels,
            health,
        })
        .boxed()
}
pub fn disk_request() -> BoxedStrategy<DiskRequest> {
    prop_oneof![
        (disk_id(), reason()).prop_map(|(disk, reason)| DiskRequest::Cordon { disk, reason }),
        (disk_id(), reason()).prop_map(|(disk, reason)| DiskRequest::Uncordon { disk, reason }),
        (disk_id(), labels(), btree_set("[A-Z]{1,3}", 1..3))
            .prop_map(|(disk, set, remove)| DiskRequest::Label { disk, set, remove }),
    ]
    .boxed()
}
pub fn profile_request() -> BoxedStrategy<ProfileRequest> {
    prop_oneof![
        disk_profile().prop_map(ProfileRequest::Create),
        profile_name().prop_map(ProfileRequest::Delete),
    ]
    .boxed()
}
pub fn disk_view() -> BoxedStrategy<DiskView> {
    let state =
        select(vec![AgentState::Registered, AgentState::Recovering, AgentState::Unreachable]);
    let marks = (of(cordon()), labels(), vec(profile_name(), 0..3));
    (disk(), agent(), arc(), state, marks, resources())
        .prop_map(|(disk, agent, hostname, agent_state, (cordon, labels, profiles), total)| {
            DiskView { disk, agent, hostname, agent_state, cordon, labels, profiles, total }
        })
        .boxed()
}

fn refused(request: submit::Request) -> (String, String) {
    let message = v1::SubmitRequest {
        operation_id: "0".repeat(32),
        request: Some(request),
        ..Default::default()
    };
    let Rejection { code, message, field, .. } =
        from_wire::<(OperationId, Request, Said)>(message).unwrap_err();
    assert_eq!(code, ErrorCode::InvalidArgument, "{message}");
    (field, message)
}

#[test]
fn malformed_words_about_disks_are_refused_by_the_field() {
    let disk_id = "1".repeat(32);
    let label = |set: &[(&str, &str)], remove: &[&str]| {
        submit::Request::LabelDisk(submit::LabelDisk {
            disk_id: disk_id.clone(),
            set: set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            remove: remove.iter().map(|key| (*key).to_owned()).collect(),
        })
    };
    let profile = |change: &dyn Fn(&mut v1::DiskProfile)| {
        let mut profile = v1::DiskProfile { name: "fast".to_owned(), ..Default::default() };
        change(&mut profile);
        submit::Request::CreateProfile(submit::CreateProfile { profile: Some(profile) })
    };
    let key = "is not 1 to 63 letters, digits, '.', '_', '/' or '-' that begin and end with a letter or a digit";
    for (request, field, text) in [
        (label(&[], &[]), "label_disk", "no label is named".to_owned()),
        (label(&[("a b", "")], &[]), "label_disk.set", format!("label key \"a b\" {key}")),
        (label(&[], &["x-"]), "label_disk.remove[0]", format!("label key \"x-\" {key}")),
        (
            label(&[("a", "\n")], &[]),
            "label_disk.set",
            "the value of label a is longer than 255 bytes or holds control characters".to_owned(),
        ),
        (
            label(&[("a", "1")], &["b", "a"]),
            "label_disk.remove[1]",
            "label \"a\" is both set and removed".to_owned(),
        ),
        (
            submit::Request::CordonDisk(submit::CordonDisk {
                disk_id: disk_id.clone(),
                reason: "x".repeat(1_001),
            }),
            "cordon_disk.reason",
            "the reason is longer than 1000 bytes or holds control characters".to_owned(),
        ),
        (
            profile(&|p| p.media = vec![1, 77]),
            "create_profile.profile.media[1]",
            "77 is not the number of a medium".to_owned(),
        ),
        (
            profile(&|p| {
                p.size_min_bytes = Some(2);
                p.size_max_bytes = Some(1);
            }),
            "create_profile.profile.size_min_bytes",
            "the least size is above the largest, so no disk can satisfy the profile".to_owned(),
        ),
    ] {
        assert_eq!(refused(request), (field.to_owned(), text));
    }
}

#[test]
fn a_medium_of_a_later_release_is_unknown_and_the_disk_is_read() {
    let message = v1::Disk {
        disk_id: "1".repeat(32),
        name: "d".to_owned(),
        source: Some(to_wire(&DiskSource::Root)),
        enforcement: v1::Enforcement::None as i32,
        media: 99,
        ..v1::Disk::default()
    };
    let read: berth_model::agent::Disk = from_wire(message).unwrap();
    assert_eq!(read.media, berth_model::agent::Media::Unknown);
}
