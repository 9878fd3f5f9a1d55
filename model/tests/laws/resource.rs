//! Single resources: stacks, volumes and what lies under them, what cannot be divided.

use crate::arbitrary::{level, mib, mount, persistence, plain_disk, resource, role, stack, volume};
use berth_model::reservation::{Reservation, ReservationKind, Stack, StackError};
use berth_model::resources::{DiskInfo, Name, Resource, ResourceError, Resources, Value};
use berth_model::units::Scalar;
use proptest::prelude::*;
use proptest::sample::select;

fn one(resource: &Resource) -> Resources {
    Resources::from_list([resource.clone()]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn pop_undoes_push(resource in resource(), top in select(vec!["a", "a/b", "a/b/c", "d"])) {
        let owner = resource.stack.owner().cloned();
        let fits = owner.as_ref().is_none_or(|owner| role(top).is_below(owner));
        match resource.push(level(top)) {
            Ok(pushed) => {
                prop_assert!(fits);
                prop_assert_eq!(pushed.stack.owner(), Some(&role(top)));
                prop_assert_eq!(pushed.pop(), Some(resource));
            },
            Err(StackError::NotBelow { role: refused, parent }) => {
                prop_assert_eq!((refused, Some(parent)), (role(top), owner));
                prop_assert!(!fits);
            },
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn stacks_refine_downwards_and_only_their_first_level_is_fixed(stack in stack()) {
        prop_assert_eq!(Stack::new(stack.levels().to_vec()), Ok(stack.clone()));
        for pair in stack.levels().windows(2) {
            prop_assert!(pair[1].role.is_below(&pair[0].role));
        }
        let star = StackError::Star;
        prop_assert_eq!(stack.push(Reservation::dynamic(berth_model::role::Role::star())), Err(star));
        let fixed = stack.push(Reservation::fixed(role("a/b/c")));
        match stack.top() {
            None => prop_assert_eq!(fixed.map(|s| s.levels().len()), Ok(1)),
            Some(_) => {
                let want = StackError::StaticAbove { role: role("a/b/c") };
                prop_assert_eq!(fixed, Err(want));
            },
        }
        let dynamic = stack.top().is_some_and(|top| top.kind == ReservationKind::Dynamic);
        prop_assert_eq!(stack.pop().is_some(), dynamic);
    }

    #[test]
    fn a_role_may_use_what_is_free_its_own_or_an_ancestors(stack in stack()) {
        for (name, ancestors) in [("a", vec!["a"]), ("a/b", vec!["a", "a/b"]), ("c", vec!["c"])] {
            let want = stack.owner().is_none_or(|owner| ancestors.contains(&owner.as_str()));
            prop_assert_eq!(stack.is_allocatable_to(&role(name)), want);
        }
    }

    #[test]
    fn stripping_a_volume_gives_the_disk_it_was_made_on(
        disk in plain_disk(),
        persistence in persistence(),
        mount in mount(),
        shared in any::<bool>(),
    ) {
        let mut volume = disk.clone().with_volume(persistence.clone(), mount);
        volume.shared = shared;
        prop_assert_eq!(volume.persistence(), Some(&persistence));
        prop_assert_eq!(volume.disk_source(), disk.disk_source());
        prop_assert_eq!(volume.strip_volume(), disk.clone());
        prop_assert_eq!(disk.strip_volume(), disk);
    }

    #[test]
    fn volumes_and_whole_disks_are_indivisible(
        found in prop_oneof![volume(), plain_disk()],
        size in mib(),
    ) {
        let have = one(&found);
        let mut part = found.clone();
        part.value = Value::Scalar(size);
        let whole = found.amount().unwrap();
        let fits = if found.is_divisible() { size <= whole } else { size == whole };
        prop_assert_eq!(have.contains(&one(&part)), fits);
        if !found.is_divisible() && !fits {
            prop_assert_eq!(have.minus(&one(&part)), have);
        }
    }

    #[test]
    fn equality_ignores_mount_and_principal_and_nothing_else(
        volume in volume(),
        other_mount in mount(),
        other in persistence(),
    ) {
        let mut twin = volume.clone();
        let disk = twin.disk.as_mut().unwrap();
        disk.mount = Some(other_mount);
        disk.persistence.as_mut().unwrap().principal = other.principal.clone();
        prop_assert_eq!(one(&volume), one(&twin));
        prop_assert!(one(&volume).contains(&one(&twin)));
        let mut left = one(&volume);
        prop_assert_eq!(left.checked_sub(&one(&twin)), Ok(()));
        prop_assert!(left.is_empty());

        twin.disk.as_mut().unwrap().persistence.as_mut().unwrap().name = other.name.clone();
        let same = volume.persistence().map(|p| &p.name) == Some(&other.name);
        prop_assert_eq!(one(&volume) == one(&twin), same);
        let mut shared = volume.clone();
        shared.shared = !volume.shared;
        prop_assert_ne!(one(&volume), one(&shared));
        prop_assert_ne!(one(&volume), one(&volume.strip_volume()));
    }

    #[test]
    fn copies_of_a_shared_volume_count_once_and_are_given_back_one_by_one(
        volume in volume(),
        copies in 1..5_i64,
    ) {
        let mut sum = Resources::new();
        for _ in 0..copies {
            sum.add(&volume).unwrap();
        }
        let size = volume.amount().unwrap();
        let counted = if volume.shared { 1 } else { copies };
        let total = Scalar::from_milli(size.milli() * counted);
        prop_assert_eq!(sum.total(&volume.name), total);
        prop_assert_eq!(sum.len(), 1);
        prop_assert_eq!(sum.volumes(), vec![volume.clone()]);
        for left in (0..copies).rev() {
            sum.checked_sub(&one(&volume)).unwrap();
            prop_assert_eq!(i64::try_from(sum.iter().count()), Ok(left));
        }
        prop_assert_eq!(sum.checked_sub(&one(&volume)).map_err(|e| e.missing), Err(one(&volume)));
    }
}

type Spoil<'a> = &'a dyn Fn(&mut Resource);

#[test]
fn what_no_resource_may_be_is_refused() {
    let cpus = Resource::scalar(Name::Cpus, Scalar::from_milli(1));
    let refused = |change: Spoil<'_>| {
        let mut resource = cpus.clone();
        change(&mut resource);
        resource.validate().unwrap_err().to_string()
    };
    let cases: [(Spoil<'_>, &str); 7] = [
        (&|r| r.value = Value::Scalar(Scalar::ZERO), "cpus is 0: give an amount above zero"),
        (
            &|r| r.value = Value::Set(["a".into()].into()),
            "cpus has an amount of another kind: give one number",
        ),
        (
            &|r| r.value = Value::Set(["".into()].into()),
            "cpus is empty: give at least one range or item",
        ),
        (&|r| r.name = Name::Ports, "ports has an amount of another kind: give ranges of numbers"),
        (&|r| r.shared = true, "cpus is marked shared: only persistent volumes can be"),
        (&|r| r.disk = Some(DiskInfo::default()), "cpus carries disk information: only disk may"),
        (
            &|r| {
                r.revocable = true;
                r.stack = Stack::new(vec![level("a")]).unwrap();
            },
            "cpus is revocable and also reserved or a volume: revocable resources can be neither",
        ),
    ];
    for (change, want) in cases {
        assert_eq!(refused(change), want);
    }
    assert_eq!(
        Resource::scalar(Name::new(""), Scalar::from_milli(1)).validate(),
        Err(ResourceError::NoName)
    );
}
