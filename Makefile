# SPDX-License-Identifier: Apache-2.0
#
#   make demo    see it work: builds, starts a shop, breaks things and mends them
#   make test    everything that CI checks
#   make run     the server, with the routes.conf of this folder

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PACKAGES := pkg-config liblua5.4-dev libsimdjson-dev libsqlite3-dev libcurl4-openssl-dev python3 openssl
SOURCES := Package.swift Sources Tests Benchmarks
RELEASE := .build/release/fairlead

.PHONY: help deps build release run demo test lint format bench fuzz clean

help:
	@sed -n 's/^#   //p' Makefile

# What is installed already costs nothing; on a bare machine this is the only step that needs the network.
deps:
	@command -v swift >/dev/null || { \
	  echo "Swift 6.2 or newer is needed: https://www.swift.org/install/linux"; exit 1; }
	@missing=""; for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q "ok installed" || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing"; \
	  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq $$missing >/dev/null; \
	fi

build: deps
	swift build

release: deps
	swift build -c release --product fairlead

run: release
	$(RELEASE) serve routes.conf

demo: release
	docs/demo/demo.sh $(RELEASE)

# A run that takes longer hangs: it takes about a minute on two cores.
TEST_SECONDS := 1200

# CI=1 makes warnings errors. One test at a time: many of them are busy for seconds, and those that start servers wait for
# answers with deadlines.
test: deps lint
	CI=1 swift build --build-tests
	CI=1 timeout $(TEST_SECONDS) swift test --skip-build --disable-xctest --no-parallel
	.build/debug/fairlead check routes.conf
	.build/debug/fairlead test routes.conf

lint:
	swift format lint --strict --parallel -r $(SOURCES)

format:
	swift format -i --parallel -r $(SOURCES)

bench: release
	swift build -c release --product matching-bench
	.build/release/matching-bench
	$(RELEASE) bench
	$(RELEASE) bench --startup --events 2000000 --batch 1000

# Of each fuzzer. What it finds is left in .build/fuzz, what it learned in .build/corpus.
FUZZ_SECONDS := 600
FUZZ_FLAGS := -max_total_time=$(FUZZ_SECONDS) -timeout=10 -dict=Tests/Fuzz/routes.dict -artifact_prefix=.build/fuzz/

fuzz: deps
	for f in RoutesFuzz FilterFuzz; do FUZZ=1 swift build -c release --scratch-path .build/fuzz --product $$f; done
	mkdir -p .build/corpus/routes .build/corpus/filter
	cp routes.conf Tests/RoutesTests/Fixtures/shop.conf Tests/RoutesTests/Fixtures/Bad/*.txt .build/corpus/routes
	grep -rhoP '(?<=where ).*' routes.conf Tests/RoutesTests | split -l 1 -a 4 - .build/corpus/filter/
	.build/fuzz/release/RoutesFuzz $(FUZZ_FLAGS) -max_len=3000 .build/corpus/routes
	.build/fuzz/release/FilterFuzz $(FUZZ_FLAGS) -max_len=600 .build/corpus/filter

clean:
	rm -rf .build
