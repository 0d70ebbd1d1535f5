# Two commands do everything: `make demo` and `make test`.
GO ?= go
BIN := $(CURDIR)/bin
TOOLS := $(CURDIR)/.bin
.DEFAULT_GOAL := help
# Programs are static, and the same with and without a C compiler. Only the race detector
# needs one.
export CGO_ENABLED := 0

.PHONY: help demo test check build graph deps tools generate format lint fleet-up fleet-down clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: build ## Back up and restore three simulated tenants, on embedded defaults
	$(BIN)/tenantry demo $(ARGS)

# -race also checks every pointer that is made from a number (checkptr). SQLite, which is translated from C, makes
# little else: without those checks the tests of the catalog take half of the CPU. Races in it are still found.
RACE := -race -gcflags='modernc.org/...=-d=checkptr=0'

test: export CGO_ENABLED := 1
test: deps tools graph graph-race ## Set up what is missing and run all tests
	$(GO) test $(RACE) -timeout 20m -p 2 $(TESTFLAGS) ./...

# How often each fuzz target is tried. Not for how long: Go fails a target whose time ends while a slow
# machine is at work on it.
FUZZTIME ?= 60000x

.PHONY: proof
proof: ## Prove that the repository loses nothing: crashes, interleavings, bit flips, fuzzing
	$(GO) test -tags proof -count=1 -timeout 10m $(TESTFLAGS) ./internal/repository/proof
	@for target in $$($(GO) test -list '^Fuzz' ./internal/repository | grep '^Fuzz'); do \
	  echo "$(GO) test -fuzz '^'$$target'$$' -fuzztime $(FUZZTIME) ./internal/repository"; \
	  $(GO) test -run '^$$' -fuzz '^'$$target'$$' -fuzztime $(FUZZTIME) -parallel 2 ./internal/repository || exit 1; \
	done

check: tools graph ## Format, vet, lint, and generated code up to date
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	$(GO) vet -p 2 ./...
	$(GO) vet -tags proof ./internal/repository/proof
	cd deployments && $(GO) vet ./... && $(GO) test ./...
	$(TOOLS)/buf lint
	$(TOOLS)/golangci-lint run
	./.ci/generated

.PHONY: bench-graphsim
bench-graphsim: ## Measure the simulator: start, memory, requests and content per core
	$(GO) run ./bench/table -section graphsim $(GO) run ./bench/graphsim

.PHONY: bench-fleet
bench-fleet: deps graph ## Measure a whole fleet against limits that bind (10 minutes; ARGS=-quick to see that it works)
ifeq ($(findstring -quick,$(ARGS)),)
	$(GO) run ./bench/table -section fleet $(GO) run ./bench/fleet $(ARGS)
else
	$(GO) run ./bench/fleet $(ARGS)
endif

.PHONY: bench-workload
bench-workload: deps graph ## Measure backup and restore of mail and files on one worker (ARGS=-quick to see that it works)
ifeq ($(findstring -quick,$(ARGS)),)
	$(GO) run ./bench/table -section workload $(GO) run ./bench/fleet -suite workload $(ARGS)
else
	$(GO) run ./bench/fleet -suite workload $(ARGS)
endif

.PHONY: bench-api
bench-api: deps graph ## Measure the api process: listings of a large tenant, the fleet at a glance (ARGS=-quick)
ifeq ($(findstring -quick,$(ARGS)),)
	$(GO) run ./bench/table -section api $(GO) run ./bench/fleet -suite api $(ARGS)
else
	$(GO) run ./bench/fleet -suite api $(ARGS)
endif

.PHONY: bench-repository peers
bench-repository: peers ## Measure the repository against restic and kopia (ARGS=-quick to see that it works)
ifeq ($(findstring -quick,$(ARGS)),)
	$(GO) run ./bench/table -section repository $(GO) run ./bench/repository $(ARGS)
else
	$(GO) run ./bench/repository $(ARGS)
endif

# What the repository is measured against: restic as packed, kopia built from bench/peers.
peers: $(TOOLS)/kopia
	./.ci/deps restic

$(TOOLS)/kopia: bench/peers/go.mod bench/peers/go.sum
	cd bench/peers && GOBIN=$(TOOLS) $(GO) install -p 2 tool

build: graph ## Build the programs into bin/
	$(GO) build -o $(BIN)/ ./cmd/...

.PHONY: image
image: graph ## Make bin/tenantry-image.tar, a container image from scratch: docker load -i
	$(GO) build -ldflags '-s -w' -o $(BIN)/image/ ./cmd/...
	cd deployments && $(GO) run ./image -bin $(BIN)/image -out $(BIN)/tenantry-image.tar

.PHONY: worker-package
worker-package: graph ## Make bin/tenantry-worker.tar.gz, the worker for a machine outside: program, systemd unit, install script
	$(GO) build -ldflags '-s -w' -o $(BIN)/package/ ./cmd/worker
	cd deployments && $(GO) run ./package -program $(BIN)/package/worker -out $(BIN)/tenantry-worker.tar.gz

# The Graph SDK has packages that take 4.5 GB to compile: one at a time.
.PHONY: graph graph-race
graph:
	CGO_ENABLED=0 $(GO) build -p 1 ./internal/graph
graph-race:
	CGO_ENABLED=1 $(GO) build -race -p 1 ./internal/graph

deps: ## Install redis-server, Postgres and what else tests need (Debian, Ubuntu)
	./.ci/deps

tools: $(TOOLS)/.built ## Build the pinned tools into .bin/
$(TOOLS)/.built: tools/go.mod tools/go.sum
	cd tools && GOBIN=$(TOOLS) $(GO) install -p 2 tool
	@touch $@

generate: tools ## Generate code from proto/ and the OpenAPI document, and the list of metrics
	$(TOOLS)/buf generate
	$(GO) generate ./internal/apiclient/...
	$(GO) test ./internal/app -run '^TestMetricsAreDocumented$$' -update

format: ## Format the code
	gofmt -w $$(git ls-files '*.go')

fleet-up: deps tools build ## Start a fleet of processes on real Redis, Postgres and S3
	./deployments/fleet up

fleet-down: ## Stop that fleet
	./deployments/fleet down

clean: ## Remove what was built
	rm -rf $(BIN) $(TOOLS) demo-data
