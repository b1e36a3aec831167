# Sarnıç. `make` alone lists the targets.

SHELL   := bash
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

# The grammar of PostgreSQL is C. Where there is no compiler it runs as WebAssembly: slower, and with more memory.
CGO := $(if $(shell command -v cc),1,0)

# Arguments of `make run`, `make bench` and `make soak`, e.g. make run ARGS=--once
ARGS ?=
# How long `make fuzz` spends on each target, and which packages.
FUZZTIME ?= 20s
PKG      ?= ./...

# The packages whose behaviour depends on the driver of proxy/loop; they are tested on both.
LOOP_PACKAGES := ./proxy/... ./pool/...

.DEFAULT_GOAL := help
.PHONY: help run build deps test sim race race-std vet vet-darwin lint fuzz bench soak cover clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## PostgreSQL, a replica and Redis with sarnic in front, until Ctrl-C; ARGS=--once runs a smoke test instead
	CGO_ENABLED=0 go build -trimpath -o bin/demo ./cmd/demo
	bin/demo $(ARGS)

build: ## bin/sarnic
	CGO_ENABLED=$(CGO) go build -trimpath -ldflags '$(LDFLAGS)' -o bin/sarnic ./cmd/sarnic

deps: ## install what the tests need (gcc, PostgreSQL, Redis); fails with the name of what cannot be had
	@scripts/deps.sh

test: deps build vet sim race race-std ## everything, with the race detector, on both drivers of proxy/loop

sim: ## simulated schedules over the sessions and pools; SARNIC_SIM_SEED=n replays one, SARNIC_SIM_COUNT=n sets how many
	go test -count=1 -timeout 20m -v -run '^(TestSchedules|TestPlantedBugsAreFound)$$' ./proxy

race:
	go test -race -p 1 -timeout 20m ./...

race-std:
	go test -race -p 1 -timeout 20m -tags loop_std $(LOOP_PACKAGES)

vet:
	go vet ./...

vet-darwin: ## the code still compiles and vets for macOS
	GOOS=darwin CGO_ENABLED=0 go vet ./...

lint: ## golangci-lint, in a pinned version that is built on first use
	@scripts/lint.sh

fuzz: ## every fuzz target for FUZZTIME each (default 20s); PKG=./config for one package
	@scripts/fuzz.sh $(FUZZTIME) $(PKG)

bench: build ## PgBouncer, PostgreSQL and sarnic against each other; ARGS=-quick for a short look
	CGO_ENABLED=0 go build -trimpath -o bin/bench ./bench
	bin/bench $(ARGS)

soak: build ## TPC-B while server connections are terminated and clients cut off; ARGS="-duration 10m -seed 1 -pg 18"
	CGO_ENABLED=0 go build -trimpath -o bin/soak ./bench/soak
	bin/soak $(ARGS)

cover: ## test coverage per function, in bin/cover.html too
	@mkdir -p bin
	go test -coverprofile=bin/cover.out -coverpkg=./... ./...
	go tool cover -html=bin/cover.out -o bin/cover.html
	go tool cover -func=bin/cover.out | tail -n 1

clean: ## remove what was built
	rm -rf bin
