# `make` or `make help` says what there is.

SHELL := /bin/bash
STATE_DIR ?= .run/state
# Counters and sockets want memory: /run where it is a tmpfs, else /dev/shm.
RUNTIME_DIR ?= $(shell [ "$$(stat -f -c %T /run)" = tmpfs ] && echo /run/chaser || echo /dev/shm/chaser)
# Further words for `chaser up`: make run ARGS="--warm 2"
ARGS ?=
# Which campaign `make chaos` runs.
SEED ?= 1
# How long `make fuzz` looks, all its targets together.
MINUTES ?= 8
CARGO_DENY := 0.20.2
CARGO_TEST := $(if $(shell command -v cargo-nextest),cargo nextest run,cargo test)

.PHONY: help setup image host android-like android-guest android-tap packager deb build run lint deny test chaos failpoints fuzz test-android clean-state

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Debian packages, Docker running, the relay's user, the Chromium image (root)
	@echo "chaser: set-up"
	@images/setup
	@images/chromium/build

image: ## the Chromium image; FORCE=1 rebuilds it with today's Chromium
	@images/chromium/build $(if $(FORCE),--force)

host: ## the Debian host with systemd that the tests of the units run in
	@images/host/build

android-like: ## the image of the tests that is like an Android device: real adbd, real Chromium
	@tests/android/build

android-guest: ## the image of the tests with a kernel of its own: QEMU without KVM, adbd in the guest
	@tests/android/guest/build

android-tap: ## the image of the tests with a guest behind a tap: a kernel of its own, adbd and Chromium in it
	@tests/android/tap/build

build: ## the release binary, target/release/chaser
	@echo "chaser: release binary (the first build takes minutes)"
	cargo build --release --locked

packager: ## cargo-deb, pinned
	@systemd/debian/build --only-tools

deb: ## the Debian package, target/debian/chaser_*.deb
	@systemd/debian/build

run: setup build ## set-up, build, and `chaser up` in the foreground (ctrl-C ends it cleanly)
	@exec target/release/chaser up --state-dir $(STATE_DIR) --runtime-dir $(RUNTIME_DIR) --self-check $(ARGS)

lint: ## format and clippy, of the tests' own feature too
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --all-targets --locked --features failpoints -- -D warnings
	cargo clippy --locked --no-default-features -- -D warnings

deny: ## licences, crates and sources of the lock file; known faults where their database can be reached
	@cargo deny --version 2>/dev/null | grep -qx "cargo-deny $(CARGO_DENY)" \
	  || cargo install cargo-deny --locked --version $(CARGO_DENY) --no-default-features --debug --quiet
	cargo deny --locked check licenses bans sources
	@if cargo deny --locked fetch db 2>/dev/null; then cargo deny --locked check advisories; \
	  else echo "chaser: NOT checked for known faults: https://github.com/RustSec/advisory-db cannot be reached"; fi

test: setup host android-like android-guest android-tap packager tests/clients/node_modules lint ## everything, on real Docker and real Chromium
	@tests/setup
	$(CARGO_TEST) --locked
	$(MAKE) --no-print-directory chaos failpoints

chaos: ## three minutes of deaths at random, the same for a SEED, against what must always hold
	cargo run --locked --quiet -- bench chaos --minutes 3 --seed $(SEED)

failpoints: ## the agent killed between every two steps of a session's life
	$(if $(findstring nextest,$(CARGO_TEST)),\
	  cargo nextest run --locked --features failpoints -E 'binary(e2e) and test(/^failpoints::/)',\
	  cargo test --locked --features failpoints --test e2e failpoints::)

fuzz: ## libFuzzer on the proxy's parsers, on the stable compiler, for MINUTES in all; a find is a failure
	@tests/fuzz/run $(MINUTES)

test-android: host android-like tests/clients/node_modules ## ANDROID_E2E_IMAGE=… on a host that can run it: what any device must do
	@[ -n "$(ANDROID_E2E_IMAGE)" ] || { echo "name an image: ANDROID_E2E_IMAGE=… make test-android (images/android/README.md)" >&2; exit 64; }
	$(if $(findstring nextest,$(CARGO_TEST)),\
	  cargo nextest run --locked -E 'binary(e2e) and test(/^devices::any::/)',\
	  cargo test --locked --test e2e devices::any::)

tests/clients/node_modules: tests/clients/package-lock.json
	@echo "chaser: npm packages of the test clients"
	@cd tests/clients && npm ci --no-audit --no-fund --ignore-scripts
	@touch $@

clean-state: ## forget this checkout's sessions and keys (while nothing runs)
	rm -rf $(STATE_DIR)
