# SPDX-License-Identifier: Apache-2.0
#
#   make demo    see it work: builds, starts a shop, breaks things and mends them
#   make test    everything that CI checks
#   make run     the server, with the routes.conf of this folder
#   make deb     a Debian package in .build/deb; `make install` without one (PREFIX, DESTDIR)
#   make docs    runs every command of the documentation and writes what it printed into the pages
#   make soak    the long runs: the Lua host under sanitizers and valgrind, 100,000 stopped handlers, 300 kills, 1,000 reloads
#   make fuzz    bytes of any kind for whatever reads bytes
#   make bench   how fast the parts are; `make bench-peers` compares with nats-server, redis-server and rabbitmq-server;
#                `make bench-quick` says in two minutes whether something has become slower

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PACKAGES := curl pkg-config liblua5.4-dev libsimdjson-dev libsqlite3-dev libcurl4-openssl-dev python3 python3-venv openssl chromium chromium-driver
# What tests speak to the server with.
PYTHON := .build/python
SOURCES := Package.swift Sources Tests Benchmarks
RELEASE := .build/release/fairlead

.PHONY: help deps promtool build release run demo static install deb test-deb test lint format docs pictures bench bench-quick bench-keep bench-peers fuzz fuzz-lua soak soak-lua soak-crash soak-reload soak-simulation simulate clean

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
	@$(MAKE) --no-print-directory promtool
	@cmp -s Tests/Clients/requirements.txt $(PYTHON)/requirements.txt || { \
	  echo "installing the tests' clients"; \
	  python3 -m venv $(PYTHON) && $(PYTHON)/bin/pip install -q --disable-pip-version-check \
	    -r Tests/Clients/requirements.txt && cp Tests/Clients/requirements.txt $(PYTHON)/; }

# Only the program is taken out of its package: installing that would start a Prometheus.
promtool:
	@if ! command -v promtool >/dev/null && [ ! -x .build/tools/usr/bin/promtool ]; then \
	  echo "fetching promtool"; mkdir -p .build/tools && cd .build/tools && apt-get download -qq prometheus >/dev/null && \
	  dpkg-deb -x prometheus_*.deb . && rm -rf prometheus_*.deb usr/bin/prometheus usr/share lib etc var; \
	fi

build: deps
	swift build

release: deps
	swift build -c release --product fairlead

# With the Swift runtime in it, so that it runs where there is none; in a folder of its own, as the same objects can't
# serve both.
STATIC := .build/static/release/fairlead
PREFIX := /usr/local
DESTDIR :=

static: deps
	swift build -c release --static-swift-stdlib --scratch-path .build/static --product fairlead

install:
	@test -x $(STATIC) || $(MAKE) static
	packaging/install.sh $(STATIC) "$(DESTDIR)" "$(PREFIX)"

deb: static
	rm -rf .build/deb
	packaging/build-deb.sh $(STATIC) .build/deb

# Installs the package in a copy of this machine, starts it, publishes, stops, removes, purges: 10 s, as root. No part of
# `make test`, since its build of everything a second time, for release and static, takes 5 to 10 minutes; its checks of manual pages and
# completions go with it.
test-deb: deb
	packaging/test-deb.sh .build/deb/*.deb

run: release
	$(RELEASE) serve routes.conf

demo: release
	docs/demo/demo.sh $(RELEASE)

# The simulation (Tests/Simulation), as fast as the server itself: each seed is two histories. `make test` plays so many of
# them in less than a minute; one that fails is printed with the command that plays it again.
SIMULATE := .build/release/simulate
TEST_SEEDS := 1500

simulate: deps
	swift build -c release --product simulate

# A run that takes longer hangs: it takes about a minute on two cores.
TEST_SECONDS := 1200

# CI=1 makes warnings errors. Deterministic hashing: else the order of dictionaries differs from run to run, and a seed of the
# simulation would not replay exactly. One test at a time: many of them are busy for seconds, and those that start servers wait for
# answers with deadlines.
test: deps lint simulate
	$(SIMULATE) --seeds $(TEST_SEEDS)
	CI=1 swift build --build-tests
	CI=1 SWIFT_DETERMINISTIC_HASHING=1 timeout $(TEST_SECONDS) swift test --skip-build --disable-xctest --no-parallel
	.build/debug/fairlead check routes.conf
	.build/debug/fairlead test routes.conf

lint:
	swift format lint --strict --parallel -r $(SOURCES)

format:
	swift format -i --parallel -r $(SOURCES)

# `make test` holds what the commands print against the pages; here the pages follow, to be read before they are committed.
docs: deps
	swift build --build-tests
	UPDATE_FIXTURES=1 .build/debug/fairleadPackageTests.xctest --testing-library swift-testing --no-parallel \
	  --filter "WalkTests|ManualTests|LuaAPITests" || true
	.build/debug/fairleadPackageTests.xctest --testing-library swift-testing --no-parallel --filter WalkTests
	@git --no-pager diff --stat -- README.md CONTRIBUTING.md Editors docs

# Of the dashboard, for docs/dashboard.md. pngquant makes them small where it is installed.
pictures: deps
	swift build --build-tests
	PICTURES=$(CURDIR)/docs/images swift test --skip-build --disable-xctest --filter DashboardPictureTests
	@command -v pngquant >/dev/null && pngquant --force --ext .png --speed 1 128 docs/images/*.png || true
	@ls -l docs/images

bench: release
	swift build -c release --product matching-bench
	.build/release/matching-bench
	swift build -c release --product scripting-bench
	.build/release/scripting-bench
	$(RELEASE) bench
	$(RELEASE) bench --startup --events 2000000 --batch 1000

# Compared with Benchmarks/Peers/quick.json, which `make bench-keep` writes.
BENCH := .build/bench
PEERS := Benchmarks/Peers

bench-quick bench-keep: release
	@$(MAKE) --no-print-directory -s -C $(PEERS) OUT=$(CURDIR)/$(BENCH) CC=clang CXX=clang++ quick
	$(PEERS)/quick.py --load $(BENCH)/alone --fairlead $(RELEASE) $(if $(filter bench-keep,$@),--keep)

# Two hours and 30 GB of disk in BENCH_FOLDER; nothing else should run. The tables and plots of docs/performance.md come from it.
# Where packages start what they install, stop those servers first: they would only take memory.
BENCH_PACKAGES := nats-server redis-server rabbitmq-server libnats-dev libhiredis-dev librabbitmq-dev
BENCH_FOLDER := $(BENCH)
BENCH_FLAGS :=
GROWTH_FLAGS :=

bench-peers: release
	@dpkg-query -W $(BENCH_PACKAGES) >/dev/null 2>&1 || { \
	  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends \
	    $(BENCH_PACKAGES) >/dev/null; }
	@$(MAKE) --no-print-directory -s -C $(PEERS) OUT=$(CURDIR)/$(BENCH) CC=clang CXX=clang++ all
	$(PEERS)/run.py --load $(BENCH) --fairlead $(RELEASE) --folder $(BENCH_FOLDER) --output $(BENCH)/results.json $(BENCH_FLAGS)
	$(PEERS)/growth.py --load $(BENCH) --fairlead $(RELEASE) --folder $(BENCH_FOLDER) --output $(BENCH)/growth.json $(GROWTH_FLAGS)
	$(PEERS)/report.py $(BENCH)/results.json $(BENCH)/growth.json docs

# Of each fuzzer. What it finds is left in .build/fuzz, what it learned in .build/corpus.
FUZZ_SECONDS := 600
LUA_FUZZ_FLAGS = -max_total_time=$(FUZZ_SECONDS) -timeout=10 -artifact_prefix=.build/fuzz/
FUZZ_FLAGS := -max_total_time=$(FUZZ_SECONDS) -timeout=10 -dict=Tests/Fuzz/routes.dict -artifact_prefix=.build/fuzz/

fuzz: deps fuzz-lua
	for f in RoutesFuzz FilterFuzz; do FUZZ=1 swift build -c release --scratch-path .build/fuzz --product $$f; done
	mkdir -p .build/corpus/routes .build/corpus/filter
	cp routes.conf Tests/RoutesTests/Fixtures/shop.conf Tests/RoutesTests/Fixtures/Bad/*.txt .build/corpus/routes
	grep -rhoP '(?<=where ).*' routes.conf Tests/RoutesTests | split -l 1 -a 4 - .build/corpus/filter/
	.build/fuzz/release/RoutesFuzz $(FUZZ_FLAGS) -max_len=3000 .build/corpus/routes
	.build/fuzz/release/FilterFuzz $(FUZZ_FLAGS) -max_len=600 .build/corpus/filter
	swift build --build-tests
	FUZZ_SECONDS=$(FUZZ_SECONDS) swift test --skip-build --disable-xctest --filter PublishFuzzTests
	SCHEMATHESIS_SEED=$$RANDOM SCHEMATHESIS_EXAMPLES=60 swift test --skip-build --disable-xctest --filter schemathesisFindsNothing

# The Lua host by itself, in C: its fuzzers, and a run through everything that Tests/Offenders knows, under the sanitizers and
# under valgrind. At the end one handler is stopped SOAK_KILLS times.
SOAK_ROUNDS := 20
SOAK_KILLS := 100000
LUA_HOST := Sources/CFairlead/crc32c.c $(wildcard Sources/CFairlead/lua_*.c)
LUA_HOST_CPP := $(wildcard Sources/CFairlead/*.cpp)
LUA_HOST_DEPENDS := $(LUA_HOST) $(LUA_HOST_CPP) $(wildcard Sources/CFairlead/*.h Sources/CFairlead/include/*.h) \
  $(wildcard Tests/Fuzz/LuaHost/*)
# valgrind reads no newer debug information than DWARF 4.
LUA_HOST_FLAGS = -gdwarf-4 -O1 -fno-omit-frame-pointer -I$(CURDIR)/Sources/CFairlead/include $$(pkg-config --cflags lua5.4)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
VALGRIND := valgrind --quiet --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite,indirect

# $(1) the program, $(2) flags for all of it, $(3) flags for its link
define lua-host-program
	@mkdir -p $(dir $@)objects.$(@F)
	cd $(dir $@)objects.$(@F) && clang -std=gnu11 -c $(2) $(LUA_HOST_FLAGS) $(addprefix $(CURDIR)/,$(LUA_HOST))
	cd $(dir $@)objects.$(@F) && clang++ -std=gnu++17 -c $(2) $(LUA_HOST_FLAGS) \
	  $(addprefix $(CURDIR)/,$(LUA_HOST_CPP) Tests/Fuzz/LuaHost/$(1).cpp)
	clang++ $(3) $(dir $@)objects.$(@F)/*.o $$(pkg-config --libs lua5.4) -lsimdjson -lpthread -o $@
endef

.build/soak/soak: $(LUA_HOST_DEPENDS)
	$(call lua-host-program,soak,,)

.build/soak/soak-sanitized: $(LUA_HOST_DEPENDS)
	$(call lua-host-program,soak,$(SANITIZE),$(SANITIZE))

.build/fuzz/lua-%: $(LUA_HOST_DEPENDS)
	$(call lua-host-program,$*_fuzz,$(SANITIZE) -fsanitize=fuzzer-no-link,$(SANITIZE) -fsanitize=fuzzer)

soak: soak-lua soak-crash soak-simulation soak-reload

soak-lua: deps .build/soak/soak .build/soak/soak-sanitized
	@command -v valgrind >/dev/null || { \
	  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq valgrind >/dev/null; }
	.build/soak/soak-sanitized Tests/Offenders/offenders.lua $(SOAK_ROUNDS) 10000
	$(VALGRIND) .build/soak/soak Tests/Offenders/offenders.lua 1 500
	.build/soak/soak Tests/Offenders/offenders.lua $(SOAK_ROUNDS) $(SOAK_KILLS)
	swift build --build-tests
	SOAK_KILLS=$(SOAK_KILLS) swift test --skip-build --disable-xctest --filter KillTests

fuzz-lua: deps .build/fuzz/lua-json .build/fuzz/lua-script
	mkdir -p .build/corpus/lua-json .build/corpus/lua-script
	cp Plugins/*.lua .build/corpus/lua-script
	.build/fuzz/lua-json $(LUA_FUZZ_FLAGS) -max_len=600 .build/corpus/lua-json
	.build/fuzz/lua-script $(LUA_FUZZ_FLAGS) -max_len=1500 -rss_limit_mb=4096 .build/corpus/lua-script
# How often the program is killed while everything that it does is going on (Tests/SystemTests/CrashTests.swift).
KILLS := 300

soak-crash: deps
	swift build --build-tests
	KILLS=$(KILLS) swift test --skip-build --disable-xctest --no-parallel --filter SystemTests.CrashTests

# How many reloads under load (Tests/SystemTests/ReloadStormTests.swift). With P99_RATIO=1.1 the latency of subscribers that
# don't change must stay within 10 % of that without reloads, which asks for a machine that does nothing else.
RELOADS := 1000
P99_RATIO :=

soak-reload: deps
	swift build --build-tests
	RELOADS=$(RELOADS) $(if $(P99_RATIO),P99_RATIO=$(P99_RATIO)) swift test --skip-build --disable-xctest --no-parallel \
	  --filter SystemTests.ReloadStormTests

# How many seeds of the simulation, and from which on: an interrupted run says where it was.
SOAK_SEEDS := 1000000
SOAK_FIRST := 1

soak-simulation: simulate
	$(SIMULATE) --seeds $(SOAK_SEEDS) --first $(SOAK_FIRST)

clean:
	rm -rf .build
