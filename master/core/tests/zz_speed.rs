//! temp
use berth_master_core::{Config, Input, Master, Output};
use berth_model::id::*;
use berth_model::link::*;
use berth_model::operator::*;
use berth_model::role::Role;
use berth_model::units::*;
use berth_model::resources::*;
use berth_model::agent::*;
use berth_model::volume::*;
use std::sync::Arc;
#[test]
fn speed() {
    let now = Timestamp::from_ms(1_000_000);
    let (mut m, _) = Master::recover(Config::new(ClusterId::from_u128(1), 1, 0), vec![], now).unwrap();
    let a = AgentId::from_u128(1);
    let s = SessionId::from_u128(1);
    let info = AgentInfo { id: a, hostname: Arc::from("h"), attributes: Default::default(), declared: parse_resources("cpus:4;mem:4096;disk:100000000").unwrap(), disks: vec![], limitations: vec![], version: Arc::from("0") };
    m.step(now, Input::Agent { agent: a, session: s, message: FromAgent::Register(Box::new(Registration { info, session: s, cluster: None, epoch: 0, revision: 0, ledger_seq: 0, volumes: vec![], tasks: vec![] })) });
    let mut seq = 0;
    let mut n = 0u128;
    for stage in [0u128, 100, 1000, 10_000] {
        while n < stage { one(&mut m, now, a, s, &mut n, &mut seq); }
        let mut best = u128::MAX;
        for _ in 0..10 {
            let start = std::time::Instant::now();
            for _ in 0..200 { one(&mut m, now, a, s, &mut n, &mut seq); }
            best = best.min(start.elapsed().as_nanos() / 200);
        }
        eprintln!("at {stage}: {best} ns per create+ready");
    }
    if std::env::var("LONG").is_ok() { for _ in 0..200_000 { one(&mut m, now, a, s, &mut n, &mut seq); } }
}
fn one(m: &mut Master, now: Timestamp, a: AgentId, s: SessionId, n: &mut u128, seq: &mut u64) {
    *n += 1;
    let n = *n;
    let st = m.step(now, Input::Operator { reply: 1, operation: OperationId::from_u128(n), fingerprint: 1, request: Request::CreateVolume { name: VolumeName::new(&format!("v{n}")).unwrap(), role: Role::new("bench").unwrap(), principal: None, size: Bytes::from_mib(1), agent: None, disk: DiskChoice::Any, container_path: Arc::from("data") } });
    let spec = st.outputs.iter().find_map(|o| match o { Output::ToAgent { message: ToAgent::EnsureVolume { spec, .. }, .. } => Some(spec.clone()), _ => None }).unwrap();
    *seq += 1;
    m.step(now, Input::Agent { agent: a, session: s, message: FromAgent::Volume { ledger_seq: *seq, report: VolumeReport { spec, state: VolumeState::Ready, operation: None, error: None, host_path: Arc::from(""), driver: Arc::from(""), enforcement: Enforcement::None, used: None, purged: vec![] } } });
}
