# Every common task of a developer. `make help` lists the targets; CONTRIBUTING.md says when to use which.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# The linker looks for Debian's RocksDB here. Asked for each time, since the compiler may only just have been installed;
# a value from the environment wins. .cargo/config.toml has the same for a plain `cargo build` on x86-64.
ROCKSDB_LIB_DIR ?= /usr/lib/$(shell gcc -print-multiarch 2>/dev/null)
export ROCKSDB_LIB_DIR

TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
PURE := -p berth-model -p berth-ledger -p berth-master-core -p berth-agent-core -p berth-framework-core
SEEDS ?= 300
FROM ?= 1

.PHONY: help setup setup-build build demo test check sim bench mutants fmt doc clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install from Debian's packages what is missing to build, test and demonstrate
	@scripts/setup all

setup-build:
	@scripts/setup build

build: setup-build ## release binary; prints its path (target/release/berth, or below CARGO_TARGET_DIR)
	@[ -x $(TARGET_DIR)/release/berth ] || echo "build: first release build, about 5 minutes on two free cores; Cargo names each crate" >&2
	cargo build --locked --release --workspace --bin berth
	@echo $(TARGET_DIR)/release/berth

demo: setup ## a cluster, MariaDB on a persistent volume, and every kill it survives
	@BERTH_BIN=$$(scripts/build-dev); export BERTH_BIN; exec "$$(dirname "$$BERTH_BIN")/demo"

test: setup ## format, lints, documentation, repository rules and every test (all that CI runs)
	cargo fmt --all --check
	@echo "test: lints; the first time this checks every dependency, about 2 minutes on two free cores" >&2
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo doc --locked --workspace --no-deps --document-private-items
	@scripts/build-dev >/dev/null
	cargo test --locked --workspace --doc
	@scripts/test

check: setup-build ## about a minute: format, lints and tests of the pure crates
	cargo fmt --all --check
	cargo clippy --locked $(PURE) --all-targets -- -D warnings
	cargo test --locked $(PURE)

sim: setup-build ## simulate SEEDS=300 clusters, seeds counted FROM=1; non-zero exit on a violation
	@cargo build --locked --workspace --bin sim
	@$(TARGET_DIR)/debug/sim --seeds $(SEEDS) --from $(FROM)

mutants: setup-build ## plant known bugs (a missing fsync, a missing epoch check, …) and demand that the simulation finds each
	@cargo build --locked --workspace --bin mutants
	@$(TARGET_DIR)/debug/mutants

bench: setup-build ## measure in the release profile; writes target/bench/NAME.json
	cargo build --locked --release --workspace --bin berth --bin bench
	@BERTH_BIN=$(TARGET_DIR)/release/berth $(TARGET_DIR)/release/bench

fmt: ## format every file
	cargo fmt --all

doc: setup-build ## API documentation of our crates; a broken link is an error
	cargo doc --locked --workspace --no-deps --document-private-items
	@echo $(TARGET_DIR)/doc/berth_model/index.html

clean: ## remove everything that was built
	cargo clean
