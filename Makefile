# What there is to do: make help.

GO      ?= go
ARGS    ?=
# Time for each fuzz target in ci and fuzz.
FUZZTIME ?= 4s
# Tests of the gateway that secure runs by TLS: what the bytes' way matters to.
TLSTESTS ?= Slow|Drain|Handshake|Vanish|Random|Coalesced|Loops|Backlog|Close|TLS
# Seeds for each fault in faults.
SEEDS   ?= 3

# Packages that are tested beside each other, of which most wait most of the time.
PACKAGES ?= 4

# Packages with benchmarks that take moments. Whole processes are measured by
# go test -bench . ./internal/gatewaybench and ./internal/api.
MICRO = auth frame gateway loop poll protocol room broker/memory broker/redis

# A result says which commit it is of, where this is a repository.
VCS = $(shell git rev-parse --git-dir >/dev/null 2>&1 && echo true || echo false)

GOFMT = $(shell $(GO) env GOROOT)/bin/gofmt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run build image test ci bench fuzz faults deps fmt vet staticcheck tidy imports race faulttest portable secure cross chart dashboards dashboard-pictures book chart-files

help: ## what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: ## run the gateway: make run ARGS='--listen :8081'
	$(GO) run ./cmd/fanfare $(ARGS)

build: ## build bin/fanfare
	$(GO) build -o bin/fanfare ./cmd/fanfare

image: ## build the image's last stage for amd64 and arm64, and run it, with podman and runc
	DEPLOYTEST_IMAGE=1 $(GO) test -count=1 -run TestImage -timeout 30m -v ./internal/deploytest

test: deps race faulttest ## get what the tests need, then run them all with the race detector

ci: deps fmt vet staticcheck tidy imports race ## everything that must hold before a change is taken
	@MAKE='$(MAKE)' bash .ci/beside 'faulttest chart' 'portable secure fuzz cross'
	@echo "ci: all passed"

bench: ## run the micro-benchmarks and measure all that a gateway is held to: loadtest/results has it
	$(GO) test -run '^$$' -bench . -benchmem -benchtime 50ms $(addprefix ./internal/,$(MICRO)) ./loadtest/internal/account
	$(GO) build -buildvcs=$(VCS) -o bin/fanfare ./cmd/fanfare
	$(GO) build -buildvcs=$(VCS) -o bin/loadtest ./loadtest
	@mkdir -p loadtest/results
	bin/loadtest bar --start bin/fanfare --out loadtest/results --page README.md
	@$(MAKE) book

faults: ## run the whole fault suite: make faults SEEDS=20
	FAULTS_SEEDS=$(SEEDS) $(GO) test -count=1 -run TestFaults -timeout 0 -v ./internal/faulttest

fuzz: ## run every fuzz target for a while: make fuzz FUZZTIME=5m
	@echo "== fuzz: each target for $(FUZZTIME)"
	@GO='$(GO)' bash .ci/fuzz '$(FUZZTIME)'

# The steps of test and ci, each by itself.

deps: ## install the foreign programs that tests talk to
	@echo "== deps: programs that tests talk to"
	@bash .ci/deps

fmt: ## tell which files gofmt would change
	@echo "== fmt"
	@files=$$($(GOFMT) -l cmd internal loadtest) && if [ -n "$$files" ]; then echo "not gofmt's form:"; echo "$$files"; exit 1; fi

vet: ## go vet
	@echo "== vet"
	@$(GO) vet ./...
	@$(GO) vet -tags portable ./internal/poll ./internal/loop

staticcheck: ## staticcheck, at the version of go.mod
	@echo "== staticcheck"
	@$(GO) tool staticcheck ./...

tidy: ## tell what go mod tidy would change
	@echo "== tidy"
	@$(GO) mod tidy -diff

imports: ## tell which package imports what it must not
	@echo "== imports"
	@$(GO) test -count=1 ./internal/archtest

race: ## all tests, with the race detector, but those that inject faults
	@echo "== test"
	$(GO) test -race -p $(PACKAGES) $$($(GO) list ./... | grep -v /faulttest)

faulttest: ## a fault of each kind, without the race detector
	@echo "== faulttest"
	$(GO) test ./internal/faulttest

portable: ## the event loops on poll(2), as other Unixes have them
	@echo "== portable"
	$(GO) test -race -tags portable ./internal/poll ./internal/loop

secure: ## the event loops and the gateway, clients of their tests by TLS: make secure TLSTESTS=.
	@echo "== secure"
	$(GO) test -race ./internal/loop -tls
	$(GO) test ./internal/gateway -run '$(TLSTESTS)' -tls

cross: ## build for macOS
	@echo "== cross: darwin/arm64"
	@CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build ./...

# Without vet, which would go through all of Kubernetes.
chart: ## check the Helm chart: linter, unit tests, the API's types, a real gateway
	@echo "== chart"
	@files=$$($(GOFMT) -l .ci/chart) && if [ -n "$$files" ]; then echo "not gofmt's form:"; echo "$$files"; exit 1; fi
	cd .ci/chart && $(GO) test -vet=off -count=1 .
	cd .ci/chart && $(GO) tool helm-unittest ../../charts/fanfare

dashboards: ## write deploy/grafana/dashboards; then make chart-files
	$(GO) run ./internal/dashboards

dashboard-pictures: ## draw deploy/grafana/*.png: what the dashboards show of a fleet under load
	DEPLOYTEST_PICTURES=6m $(GO) test -count=1 -run TestDashboardPictures -timeout 30m -v ./internal/deploytest

book: ## write the tables of deploy/README.md: sizes, limits, metrics
	$(GO) test -count=1 -run TheBook ./internal/deploytest -update

chart-files: ## write what of the chart is made of other files: values table, schema, alerts, dashboards
	cd .ci/chart && $(GO) test -vet=off -count=1 -run 'Readme|SchemaKnows|FilesAre' . -update
