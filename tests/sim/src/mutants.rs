//! Known mistakes, each one change of one file, that the simulation must notice.
//!
//! `from` occurs exactly once in its file (a test sees to that, so the list cannot rot). The breaches of
//! [`crate::Breach`] are further mutants, of the shells' discipline.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    /// For the table.
    pub name: &'static str,
    /// From the workspace's root.
    pub file: &'static str,
    /// What is right.
    pub from: &'static str,
    /// What is wrong.
    pub to: &'static str,
    /// What it breaks.
    pub why: &'static str,
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "journal-commit-without-sync",
        file: "ledger/src/journal/mod.rs",
        from: "\n            .and_then(|()| self.disk.sync(&self.tip.name))",
        to: "",
        why: "a committed batch is lost with the power (I6)",
    },
    Mutant {
        name: "journal-file-placed-without-sync",
        file: "ledger/src/journal/recover.rs",
        from: "    disk.sync(temporary)?;\n",
        to: "",
        why: "a snapshot or segment has its name before its content is durable (I6)",
    },
    Mutant {
        name: "journal-rename-without-folder-sync",
        file: "ledger/src/journal/recover.rs",
        from: "    disk.replace(temporary, name)?;\n    disk.sync_dir()",
        to: "    disk.replace(temporary, name)",
        why: "a new file's name is lost with the power (I6)",
    },
    Mutant {
        name: "journal-open-without-sync",
        file: "ledger/src/journal/recover.rs",
        from: "        disk.sync(name)?;\n",
        to: "",
        why: "what a dead process wrote is trusted and not made durable (I6)",
    },
    Mutant {
        name: "agent-obeys-lower-epoch",
        file: "agent/core/src/link.rs",
        from: "if *epoch < self.books.epoch() {",
        to: "if *epoch < self.books.epoch() && self.stopping {",
        why: "a master of an earlier term still has effects (I12)",
    },
    Mutant {
        name: "agent-epoch-not-written",
        file: "agent/core/src/link.rs",
        from: "self.write(LedgerRecord::Epoch { epoch: *epoch, revision: *revision });",
        to: "self.books.apply(LedgerRecord::Epoch { epoch: *epoch, revision: *revision });",
        why: "a restarted agent has forgotten whom it obeys (I12)",
    },
    Mutant {
        name: "agent-tombstone-not-written",
        file: "agent/core/src/volume/calls.rs",
        from: "        watch.destroy = None;\n        self.write_volume(volume);\n        self.advance(id);",
        to: "        watch.destroy = None;\n        self.books.apply(LedgerRecord::Volume(volume));\n        self.advance(id);",
        why: "data goes to the trash without a durable tombstone at the agent (I1)",
    },
    Mutant {
        name: "agent-start-not-written",
        file: "agent/core/src/status.rs",
        from: "        self.write(LedgerRecord::Task(Box::new(task)));",
        to: "        if task.phase == LedgerTaskPhase::Starting {\n            self.books.apply(LedgerRecord::Task(Box::new(task)));\n        } else {\n            self.write(LedgerRecord::Task(Box::new(task)));\n        }",
        why: "a supervisor is started that the ledger does not know (I8)",
    },
    Mutant {
        name: "agent-makes-lost-volume-anew",
        file: "agent/core/src/volume/outcome.rs",
        from: "                self.enter(volume, VolumeState::Lost, error);",
        to: "                drop(error);\n                let mut volume = volume;\n                volume.state = VolumeState::Creating;\n                self.write_volume(volume);",
        why: "a database finds an empty directory where its data was (I1)",
    },
    Mutant {
        name: "agent-snapshot-ready-before-taken",
        file: "agent/core/src/volume/snapshot.rs",
        from: "SnapshotState::Failed } else { SnapshotState::Creating };",
        to: "SnapshotState::Failed } else { SnapshotState::Ready };",
        why: "a client is told of a snapshot that is nowhere (I6)",
    },
    Mutant {
        name: "agent-changes-volumes-untaken",
        file: "agent/core/src/volume/mod.rs",
        from: "(volume.state, volume.restore, self.taken_in);",
        to: "(volume.state, volume.restore, true);",
        why: "an old ledger makes ended volumes anew, and purges, before the master can refuse it (I17)",
    },
    Mutant {
        name: "agent-starts-tasks-untaken",
        file: "agent/core/src/task/resume.rs",
        from: "(RunPhase::Held, None)",
        to: "(RunPhase::Asked, Some(self.start_effect(&task)))",
        why: "an old ledger starts a task a second time before the master can refuse it (I17)",
    },
    Mutant {
        name: "master-takes-in-old-ledger",
        file: "master/core/src/decide/admit.rs",
        from: "    if registration.ledger_seq < reported {",
        to: "    if registration.ledger_seq < reported && registration.epoch == 0 {",
        why: "an agent that forgot is believed (I17)",
    },
    Mutant {
        name: "master-forgets-ledger-position",
        file: "master/core/src/turn/agent.rs",
        from: "        self.merge_volume(agent, report.spec.id, Some(report), Occasion::Report);\n        self.remember_seq(agent, ledger_seq);",
        to: "        self.merge_volume(agent, report.spec.id, Some(report), Occasion::Report);\n        drop(ledger_seq.to_string());",
        why: "an agent that forgot what it reported is believed (I17)",
    },
    Mutant {
        name: "master-ignores-registry-rollback",
        file: "master/core/src/decide/admit.rs",
        from: "    (from_the_future || older).then(",
        to: "    (from_the_future && older).then(",
        why: "an old registry destroys what it does not know (I17)",
    },
    Mutant {
        name: "master-destroys-in-safe-mode",
        file: "master/core/src/decide/destroy.rs",
        from: "    order.state.refuse_in_safe_mode(\"DESTROY\")?;\n",
        to: "",
        why: "an old registry destroys what it does not know (I17)",
    },
    Mutant {
        name: "master-acts-twice-on-one-id",
        file: "master/core/src/decide/order.rs",
        from: "    match state.operations.get(&id) {\n        Some(record) if record.fingerprint",
        to: "    match state.operations.get(&id).filter(|_| fingerprint == 0) {\n        Some(record) if record.fingerprint",
        why: "a retried request has its effect twice (I7)",
    },
    Mutant {
        name: "master-tombstone-not-written",
        file: "master/core/src/decide/destroy.rs",
        from: "        events.push(tombstone(order, volume).into());\n",
        to: "        drop(tombstone(order, volume));\n",
        why: "an agent is told to destroy before the registry says so (I1)",
    },
    Mutant {
        name: "master-epoch-not-raised",
        file: "master/core/src/recover.rs",
        from: "        epoch: config.epoch,\n",
        to: "        epoch: config.epoch.saturating_sub(1).max(1),\n",
        why: "two terms use one epoch (I12)",
    },
    Mutant {
        name: "master-ignores-lost-volume",
        file: "master/core/src/decide/merge.rs",
        from: "        (Ready, Failed | Lost | Gone) => Verdict::Lost,",
        to: "        (Ready, Failed | Lost | Gone) => Verdict::Ensure,",
        why: "a volume without data goes on being offered (I13)",
    },
    Mutant {
        name: "master-ignores-generations",
        file: "master/core/src/decide/merge.rs",
        from: "    if registry.generation == agent.generation {",
        to: "    if registry.generation == agent.generation || agent.generation > 0 {",
        why: "a volume that is being restored is taken for another one (I6)",
    },
    Mutant {
        name: "master-frees-unreachable-tasks",
        file: "master/core/src/decide/adopt.rs",
        from: "            state: TaskState::Unreachable,",
        to: "            state: TaskState::Lost,",
        why: "what still runs behind a partition is given to others (I4)",
    },
    Mutant {
        name: "master-does-not-charge",
        file: "master/core/src/evolve/task.rs",
        from: "        agent.books.shift(Pool::Available, Pool::Used, &task.plain);\n",
        to: "",
        why: "what a task uses is offered again (I4)",
    },
    Mutant {
        name: "master-restores-without-new-generation",
        file: "master/core/src/decide/trash.rs",
        from: "generation: spec.generation + 1, ..spec.clone()",
        to: "generation: spec.generation, ..spec.clone()",
        why: "two lives of a volume cannot be told apart (I13)",
    },
    Mutant {
        name: "master-creates-on-cordoned-disk",
        file: "master/core/src/decide/disk.rs",
        from: "    check_health(agent, source)?;\n    check_cordon(state, agent, source)\n",
        to: "    let _kept = state;\n    check_health(agent, source)\n",
        why: "new data goes where an operator wants none (I18)",
    },
    Mutant {
        name: "master-counts-unfinished-snapshots",
        file: "master/core/src/decide/schedule.rs",
        from: "e.snapshot.state == SnapshotState::Ready);",
        to: "e.snapshot.state != SnapshotState::Deleting);",
        why: "the last good snapshot goes for one that is not taken yet (I1)",
    },
    Mutant {
        name: "scheduler-launch-not-written",
        file: "storage-framework/core/src/scheduler/offers.rs",
        from: "        self.record(Record::Launching { key, place, run });",
        to: "        self.state.apply(&Record::Launching { key, place, run });",
        why: "a restarted scheduler launches the pod a second time (I8)",
    },
];
