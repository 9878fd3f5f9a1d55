//! Malformed calls about roles: weights and quota.

use super::{Refusals, submit};
use berth_proto::v1;
use v1::quota_amount::Counted;
use v1::submit_request::{Request, SetQuota, SetWeight, UnsetQuota};

fn amount(name: &str, milli: i64) -> v1::QuotaAmount {
    let counted = Some(Counted::Resource(name.to_owned()));
    v1::QuotaAmount { counted, amount_milli: milli }
}

#[test]
fn malformed_weights_and_quotas_are_refused() {
    let mut cases = Refusals(Vec::new());
    let weigh = |role: &str, weight_milli| {
        submit(Request::SetWeight(SetWeight { role: role.to_owned(), weight_milli }))
    };
    cases.submit(
        "set_weight.weight_milli | INVALID_ARGUMENT | weight 0 is not above zero | the smallest is 0.001",
        weigh("storage", 0),
    );
    cases.submit(
        "set_weight.weight_milli | INVALID_ARGUMENT | weight 1000000.001 is above the largest, 1000000 | give thousandths from 1 to 1000000000, such as 1000",
        weigh("storage", 1_000_000_001),
    );
    cases.submit(
        "set_weight.role | INVALID_ROLE | role is empty | give a path such as storage/mysql",
        weigh("", 1_000),
    );
    let set = |role: &str, guarantees, limits| {
        let role = role.to_owned();
        submit(Request::SetQuota(SetQuota { role, guarantees, limits, force: true }))
    };
    let cpus = || vec![amount("cpus", 1_000)];
    cases.submit(
        "set_quota.role | INVALID_ROLE | role a/b is below role a | only top-level roles have quota, which counts for all roles below them",
        set("a/b", cpus(), Vec::new()),
    );
    cases.submit(
        "set_quota.guarantees[0].counted | INVALID_ARGUMENT | a required field is missing | set the field",
        set("a", vec![v1::QuotaAmount { counted: None, amount_milli: 1 }], Vec::new()),
    );
    cases.submit(
        "set_quota.limits[1] | INVALID_QUOTA | cpus is given twice | give each resource once",
        set("a", Vec::new(), vec![amount("cpus", 1_000), amount("cpus", 2_000)]),
    );
    cases.submit(
        "set_quota.limits[0].resource | INVALID_ARGUMENT | the text is empty | give at least one character",
        set("a", Vec::new(), vec![amount("", 1_000)]),
    );
    let profile = Some(Counted::DiskProfile("a/b".to_owned()));
    cases.submit(
        "set_quota.limits[0].disk_profile | INVALID_ID | profile name \"a/b\" holds '/' | slashes, backslashes and control characters are not allowed",
        set("a", Vec::new(), vec![v1::QuotaAmount { counted: profile, amount_milli: 1 }]),
    );
    cases.submit(
        "set_quota.guarantees | INVALID_QUOTA | the guarantee cpus=1 is above the limit cpus=0.5 | raise the limit, or guarantee less",
        set("a", cpus(), vec![amount("cpus", 500)]),
    );
    for (amount, line) in [
        (
            amount("cpus", -1),
            "set_quota.guarantees | INVALID_QUOTA | cpus=-0.001 is below zero | \
             give amounts such as cpus=4, mem=8GiB or disk[ssd]=1TiB",
        ),
        (
            amount("ports", 1),
            "set_quota.guarantees | INVALID_QUOTA | ports is no number and cannot be counted by quota | \
             give amounts such as cpus=4, mem=8GiB or disk[ssd]=1TiB",
        ),
        (
            amount("mem", i64::MAX),
            "set_quota.guarantees | INVALID_QUOTA | mem=9223372036854775.807MiB is more than the largest amount, 1048576TiB | \
             give amounts such as cpus=4, mem=8GiB or disk[ssd]=1TiB",
        ),
    ] {
        cases.submit(line, set("a", vec![amount], Vec::new()));
    }
    cases.submit(
        "unset_quota.role | INVALID_ROLE | role * can have no quota, since it is nobody in particular | name a role such as storage",
        submit(Request::UnsetQuota(UnsetQuota { role: "*".to_owned() })),
    );
    cases.check();
}
