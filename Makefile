# Everything that people run here. `make demo` and `make test` do all their set-up themselves.

SHELL := /bin/bash
# A target directory outside the checkout, where one is given, is shared by all of these.
export CARGO_TERM_COLOR ?= auto
CARGO := cargo
BIN = $(or $(CARGO_TARGET_DIR),target)/debug/cairn

.PHONY: help setup build demo test soak faults check bench generate clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## fetch ONNX Runtime into .cache/
	@.ci/setup

build: setup ## build the one binary
	@$(CARGO) build --locked -p cairn-cli

demo: build ## the main job on real data: from documents to a deployed model that can be proven
	@python3 tests/demo/demo.py --cairn $(BIN)

test: setup ## all tests
	@$(CARGO) test --locked --workspace --no-fail-fast

soak: ## crashes, failing disks, races, kills and garbage for minutes each
	@CAIRN_SOAK=$${CAIRN_SOAK:-120} CAIRN_KILLS=$${CAIRN_KILLS:-300} $(CARGO) test --locked -p cairn-ledger --no-fail-fast -- \
		--nocapture crashes:: disk_faults:: producers:: kill:: fuzzing::

faults: ## a real process on a full disk, and refused or killed at each of its file calls (strace; root for mounting)
	@$(CARGO) build --locked -p cairn-ledger --example append_under_faults
	@python3 tests/faults/full.py $(or $(CARGO_TARGET_DIR),target)/debug/examples/append_under_faults
	@python3 tests/faults/sweep.py $(or $(CARGO_TARGET_DIR),target)/debug/examples/append_under_faults

check: ## formatting, lints, layering, doc tests, licences
	@.ci/setup checks
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	@PATH="$(CURDIR)/.cache/tools/bin:$$PATH" $(CARGO) deny --locked check licenses bans sources

bench: setup ## figures, each beside the machine's own limit
	@$(CARGO) bench --locked -p cairn-ledger --bench append --bench index
	@$(CARGO) bench --locked -p cairn-projections --bench follow --bench stores --bench curves --bench catalog --bench evals --bench lineage
	@$(CARGO) bench --locked -p cairn-server --bench http
	@$(CARGO) run --release --locked -p cairn-gpu --example train_speed
	@$(CARGO) run --release --locked -p cairn-gpu --example quantise_loss
	@$(CARGO) build --release --locked -p cairn-gpu --example inference_speed
	@test -x .cache/bench-models/bin/pip || python3 -m venv .cache/bench-models
	@.cache/bench-models/bin/pip install --quiet --require-hashes --requirement tests/bench/hf-requirements.txt
	@.cache/bench-models/bin/python tests/bench/hf_peer.py \
		--binary $(or $(CARGO_TARGET_DIR),target)/release/examples/inference_speed
	@$(CARGO) build --release --locked -p cairn-cli
	@test -x .cache/bench/bin/pip || python3 -m venv .cache/bench
	@.cache/bench/bin/pip install --quiet --require-hashes --requirement tests/bench/requirements.txt
	@.cache/bench/bin/python tests/bench/mlflow_peer.py --cairn $(or $(CARGO_TARGET_DIR),target)/release/cairn

generate: ## write the committed schemas and the Python client's generated half anew
	@CAIRN_UPDATE=1 $(CARGO) test --locked -p cairn-schemas --test json_schemas -p cairn-server --test sdl
	@CAIRN_UPDATE=1 $(CARGO) test --locked -p cairn-cli --test clients typed

clean: ## remove build outputs and the demo's data, keep .cache/
	@$(CARGO) clean; rm -rf .cairn-demo .cairn-demo-bundle
