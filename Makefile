# Muster. `make help` lists the targets; README.md says where to begin.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

MODULE   := github.com/muster/muster
PROGRAMS := muster-server muster-agent muster
SRC_muster-server := ./server
SRC_muster-agent  := ./agent
SRC_muster        := ./packages/muster
PLATFORMS := linux/amd64 linux/arm64 windows/amd64 windows/arm64 darwin/amd64 darwin/arm64

COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || echo v0.1.0-dev+$(COMMIT))
LDFLAGS := -s -w -X $(MODULE)/packages/buildinfo.Version=$(VERSION) -X $(MODULE)/packages/buildinfo.Commit=$(COMMIT)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'

# The black-box tests need built programs and run on their own; everything else is one `go test`.
UNIT_PACKAGES = $$(go list ./... | grep -v -e /scripts/e2e -e /node_modules/)
WEB_SOURCES   = $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f ! -path '*/test-results/*' \
                  ! -path '*/playwright-report/*' ! -name '*.go' -print 2>/dev/null)
GOLANGCI := .tools/golangci-lint
NFPM     := .tools/nfpm

.PHONY: help build programs cross packages web gen test test-deps test-unit test-web test-e2e test-large test-browser test-short chaos fuzz bench bench-resident lint fmt run clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: web programs ## build bin/muster-server, bin/muster-agent and bin/muster, with the web page inside the server

programs: ## build the three programs without looking at the web page
	@mkdir -p bin
	@for program in $(PROGRAMS); do \
	  case $$program in muster-server) src=$(SRC_muster-server);; muster-agent) src=$(SRC_muster-agent);; *) src=$(SRC_muster);; esac; \
	  $(GOBUILD) -o bin/$$program $$src; done

cross: web ## build the three programs for linux, windows and darwin on amd64 and arm64 into bin/cross/
	@for platform in $(PLATFORMS); do \
	  os=$${platform%/*}; arch=$${platform#*/}; dir=bin/cross/$$os-$$arch; suffix=; \
	  if [ $$os = windows ]; then suffix=.exe; fi; mkdir -p $$dir; \
	  GOOS=$$os GOARCH=$$arch $(GOBUILD) -o $$dir/muster-server$$suffix $(SRC_muster-server); \
	  GOOS=$$os GOARCH=$$arch $(GOBUILD) -o $$dir/muster-agent$$suffix $(SRC_muster-agent); \
	  GOOS=$$os GOARCH=$$arch $(GOBUILD) -o $$dir/muster$$suffix $(SRC_muster); echo $$dir; done

packages: web $(NFPM) ## build .deb and .rpm of agent and server for amd64 and arm64 into bin/packages/
	@rm -rf bin/packages
	@for arch in amd64 arm64; do dir=bin/cross/linux-$$arch; mkdir -p $$dir; \
	  for program in $(PROGRAMS); do \
	    case $$program in muster-server) src=$(SRC_muster-server);; muster-agent) src=$(SRC_muster-agent);; *) src=$(SRC_muster);; esac; \
	    GOOS=linux GOARCH=$$arch $(GOBUILD) -o $$dir/$$program $$src; done; \
	  scripts/packaging/pack.sh '$(VERSION)' $$arch $$dir bin/packages; done

web: web/dist/index.html ## build the web page, only when its sources changed

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run build
	@touch $@

gen: web/node_modules/.package-lock.json ## write what is generated: the OpenAPI document and its TypeScript types
	go run ./server openapi > web/openapi.json.new && mv web/openapi.json.new web/openapi.json
	cd web && npm run gen

test: test-deps build test-unit test-web test-e2e test-browser ## run every test: Go with the race detector, web, end to end, browser

test-deps: ## install or name what the tests need
	@scripts/testdeps.sh

# The race detector watches all code but two engines, which keep what they work on to themselves and would take
# two thirds of the time: the translated SQLite (the driver around it, which shares, is watched) and argon2. Each test
# binary would also wait a second at its end for races of what it has left running.
UNWATCHED := -gcflags=github.com/ncruces/go-sqlite3-wasm/...=-race=false -gcflags=golang.org/x/crypto/argon2=-race=false \
  -gcflags=golang.org/x/crypto/blake2b=-race=false

test-unit: web/dist/index.html ## Go tests with the race detector, on SQLite and MariaDB
	GORACE="atexit_sleep_ms=0 $${GORACE:-}" go test -race $(UNWATCHED) -shuffle=on -timeout 12m $(UNIT_PACKAGES)

test-web: web/node_modules/.package-lock.json ## types and unit tests of the web page
	cd web && npm test

test-e2e: build $(NFPM) ## the real programs over real TLS
	go test -count=1 -shuffle=on -parallel 4 -timeout 14m ./scripts/e2e/...

test-large: build ## archives of more than 4 GiB through server and agent, with an eye on memory (minutes, 24 GiB of disk)
	MUSTER_TEST_LARGE=1 MUSTER_BIN=$(CURDIR)/bin go test -count=1 -v -timeout 30m -run '^TestLarge$$' ./scripts/e2e

test-browser: build ## the web page in a real browser
	cd web && npm run e2e

test-short: ## quick Go tests, for while you write
	go test -short -shuffle=on $(UNIT_PACKAGES)

chaos: ## kill server and agents 500 times and cut the power (KILLS=2000 for more, SEED=n for the same chance); plant five faults and find them; deliver 10,000 results and log lines over 100 kills
	go test -count=1 -timeout 40m -v -run '^TestChaos$$' ./scripts/e2e -chaos.kills $${KILLS:-500} -chaos.devices 4 -chaos.seed $${SEED:-0}
	go test -count=1 -timeout 40m -v -run '^TestChaos_plantedFaults$$' ./scripts/e2e -chaos.faults
	go test -count=1 -timeout 40m -v -run '^TestSpool$$' ./scripts/e2e -spool.reports 10000 -spool.kills 100 -chaos.seed $${SEED:-0}

fuzz: ## run every fuzz target for 60 seconds (FUZZTIME=10m for longer)
	@scripts/fuzz.sh

bench: web/dist/index.html ## measure: Go benchmarks, a server under load, and others beside where they are installed (some minutes)
	@for script in scripts/bench/*.sh; do echo "== $$script"; $$script; done

bench-resident: ## measure what the waiting agent costs: 10 minutes (IDLE) after 500 deployments (TASKS), beside the OCS Inventory agent
	@IDLE=$${IDLE:-10m} TASKS=$${TASKS:-500} scripts/bench/resident.sh

$(GOLANGCI): scripts/tools/go.mod scripts/tools/go.sum
	@mkdir -p .tools
	cd scripts/tools && CGO_ENABLED=0 go build -trimpath -o ../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(NFPM): scripts/tools/go.mod scripts/tools/go.sum
	@mkdir -p .tools
	cd scripts/tools && CGO_ENABLED=0 go build -trimpath -o ../../$@ github.com/goreleaser/nfpm/v2/cmd/nfpm

lint: $(GOLANGCI) ## formatting, go vet, golangci-lint and the rules of the house
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	go vet $$(go list ./... | grep -v -e /node_modules/)
	go run ./scripts/checkstyle
	$(GOLANGCI) run

fmt: ## format all Go code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

run: ## quick start: server, agent and a first package on this computer (MUSTER_PORT=9443 for another port)
	@scripts/quickstart/run.sh

clean: ## remove what was built; .muster/, the quick start's data, stays
	rm -rf bin web/dist/assets web/dist/index.html web/test-results web/playwright-report
