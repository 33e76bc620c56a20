# Everything a newcomer, a developer and CI run. `make` alone lists it.

# Each filter <name> is the crates <name> (what the proxy loads) and
# <name>-policy (what decides, and is tested without a proxy).
FILTERS := jwt-auth canary-routing rate-limit

POLICIES := mesh-filters-policy mesh-filters-config $(FILTERS:%=%-policy)
# These reach host calls, which only a proxy can link.
WASM_ONLY := mesh-filters-runtime $(FILTERS) vectors-plugin
MODULES := $(foreach filter,$(FILTERS),$(subst -,_,$(filter)).wasm)

# Each has a body and a corpus in tests/fuzz.
FUZZ_TARGETS := $(basename $(notdir $(wildcard tests/fuzz/libfuzzer/src/bin/*.rs)))

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SETUP := tests/tools/setup

# A plain #[test] is left out under Node.js without a word, so each file says
# which kind its tests are.
NODE_TESTS_ARE_RUN = silent=$$(grep -rl --include='*.rs' '\#\[test\]' filters | \
	xargs grep -L -e 'wasm_bindgen_test as test' -e 'not(target_family = "wasm")'); \
	test -z "$$silent" || { echo "error: these tests would not run under Node.js;" \
	"see CONTRIBUTING.md: $$silent" >&2; exit 1; }

SHELL := bash
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# Cargo uses every core by itself, and prerequisites that run one by one keep
# their output readable.
.NOTPARALLEL:

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1 /p' Makefile | \
		while read -r target text; do printf '%-12s %s\n' "$$target" "$$text"; done

.PHONY: demo
demo: setup-rust setup-envoy wasm ## Start Envoy with the filters and show them at work; KEEP=1 leaves it running
	@echo "==> building the demo"
	@cargo build -p demo
	@cargo run -q -p demo $(if $(filter 1,$(KEEP)),-- --keep)

.PHONY: test
test: test-native test-node test-e2e ## Run all tests: natively, under Node.js, and against a real Envoy

.PHONY: test-native
test-native: setup-rust ## Run the policies' tests and the fuzz targets' corpora on this machine
	@echo "==> testing the policies natively"
	@cargo test --all-features $(POLICIES:%=-p %) -p fuzz $(ARGS)

# Only tests that say so run as WebAssembly, and examples in the documentation
# cannot: --tests leaves those to the native run.
.PHONY: test-node
test-node: setup-rust setup-node-tests ## Run the policies' tests as WebAssembly under Node.js
	@echo "==> testing the policies as WebAssembly under Node.js"
	@$(NODE_TESTS_ARE_RUN)
	@CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner \
		cargo test --tests --target wasm32-unknown-unknown $(POLICIES:%=-p %) $(ARGS)

.PHONY: test-e2e
test-e2e: setup-rust setup-envoy setup-oidc wasm wasm-of-tests ## Run the tests against a real Envoy; ARGS="name" picks some
	@echo "==> testing the modules in Envoy"
	@cargo test -p harness -p e2e -p demo $(ARGS)

# A test that needs a host: tests/e2e loads it from where Cargo puts it.
.PHONY: wasm-of-tests
wasm-of-tests: setup-rust
	@cargo build --profile wasm --target wasm32-wasip1 --target-dir $(TARGET_DIR) -p vectors-plugin

# Have rustc count which code an input reaches, for libFuzzer to go by. cargo-fuzz
# passes the same, and a stable Rust takes them.
COVERAGE := -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-, \
	level=4 inline-8bit-counters pc-table trace-compares)
# Named although it is the default, so that build scripts go without these flags.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

# What libFuzzer finds stays in .fuzz, out of git. It ends with an error when an
# input crashes a target or takes it more than ten seconds.
.PHONY: fuzz
fuzz: setup-rust setup-fuzz ## Build the fuzz targets; TARGET="token jwks" (or all) SECONDS=60 runs some
	@echo "==> building the fuzz targets $(FUZZ_TARGETS)"
	@RUSTFLAGS='$(COVERAGE)' cargo build --profile fuzz --target $(HOST) -p fuzz-libfuzzer
	@for target in $(if $(filter all,$(TARGET)),$(FUZZ_TARGETS),$(TARGET)); do \
		echo "==> fuzzing $$target for $(or $(SECONDS),60) s"; \
		mkdir -p .fuzz/$$target && \
		$(TARGET_DIR)/$(HOST)/fuzz/$$target -max_total_time=$(or $(SECONDS),60) -timeout=10 \
			-artifact_prefix=.fuzz/$$target- .fuzz/$$target tests/fuzz/corpus/$$target || exit 1; \
	done

# Cargo knows what is out of date. A module that came out the same is not
# copied, so that whatever watches dist/ stays undisturbed.
.PHONY: wasm
wasm: setup-rust ## Build the filters into dist/
	@echo "==> building $(MODULES)"
	@cargo build --profile wasm --target wasm32-wasip1 --target-dir $(TARGET_DIR) $(FILTERS:%=-p %)
	@mkdir -p dist
	@for module in $(MODULES); do \
		built=$(TARGET_DIR)/wasm32-wasip1/wasm/$$module; \
		cmp -s $$built dist/$$module || cp $$built dist/ || exit 1; \
		echo "dist/$$module: $$(($$(wc -c < dist/$$module) / 1024)) KiB"; \
	done

.PHONY: lint
lint: setup-rust setup-lint ## Check formatting, lints, licences and where dependencies come from
	@echo "==> checking the formatting"
	@cargo fmt --all --check
	@echo "==> checking what runs on this machine"
	@cargo clippy --all-targets --all-features -- -D warnings
	@# Nothing is linked, so any path will do for libFuzzer, and no C++ is compiled.
	@CUSTOM_LIBFUZZER_PATH=/dev/null cargo clippy -p fuzz-libfuzzer -- -D warnings
	@echo "==> checking what runs in the proxy"
	@cargo clippy --target wasm32-wasip1 $(WASM_ONLY:%=-p %) -- -D warnings
	@echo "==> checking the dependencies"
	@cargo deny --locked check licenses bans sources

.PHONY: fmt
fmt: setup-rust ## Format the code
	@cargo fmt --all

.PHONY: setup
setup: setup-rust setup-envoy setup-node-tests setup-oidc setup-lint ## Install every tool that is missing

# Costs milliseconds when nothing is missing.
setup-%:
	@$(SETUP) $*

.PHONY: clean
clean: ## Remove all that was built or fetched: target, dist, .tools and node_modules
	rm -rf $(TARGET_DIR) dist .tools tests/oidc-provider/node_modules
