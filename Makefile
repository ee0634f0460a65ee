# `make help` lists what there is. Everything here does its own set-up on a machine with Go, Node.js (npm) and make.
.DEFAULT_GOAL := help
SHELL := /bin/sh

GO ?= go
FUZZTIME ?= 10s
FUZZAPI_SECONDS ?= 120
PKGS ?= ./...
# What the real Kafka proves; the rest of the tests does not change with the broker.
KAFKA_PKGS ?= ./internal/kafkatest/... ./internal/stream/... ./internal/detector/... ./internal/ingest/... ./internal/pull/... ./internal/archiver/... ./internal/courier/... ./stepup/...

CACHE := $(CURDIR)/.cache
DEV := $(GO) tool -modfile=$(CURDIR)/tools/dev/go.mod
LINT := $(GO) tool -modfile=$(CURDIR)/tools/lint/go.mod golangci-lint
# Prints failures and a summary; TEST_JSON keeps the events of the run for whoever counts them (.ci/run).
TEST := $(DEV) gotestsum --format pkgname-and-test-fails --hide-summary=skipped $(if $(TEST_JSON),--jsonfile=$(TEST_JSON)) --
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# As the tests compile, so that both share the build cache; the Dockerfile trims paths.
BUILD := $(GO) build -ldflags "-X main.version=$(VERSION)"

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z][a-z-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ use

.PHONY: build
build: web ## compile every binary into bin/
	$(BUILD) -o bin/ ./cmd/...

# With the dashboard in it, whole: make -j must not embed one that is half built.
.PHONY: bin/countersign
bin/countersign: | web
	@$(BUILD) -o $@ ./cmd/countersign

# The dashboard is built again only when something that it is made of has changed.
WEB_SOURCES := $(shell find web/src web/public web/scripts -type f 2>/dev/null) $(addprefix web/,index.html package.json vite.config.ts tsconfig.json openapi.json)

.PHONY: web
web: web/dist/index.html ## build the dashboard, which the api carries (needs Node.js)
	@:

web/dist/index.html: web/node_modules/.locked $(WEB_SOURCES)
	@cd web && npm run --silent build

web/node_modules/.locked: web/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)' \
		2>/dev/null || { echo "the dashboard needs Node.js 20.19, or 22.12 or newer, to be built; here is $$(node --version 2>/dev/null || echo none)" >&2; exit 1; }
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error
	@touch $@

.PHONY: demo
demo: assets bin/countersign ## run the whole pipeline with a simulated company and a sample app (Ctrl-C ends it)
	@bin/countersign up --demo

.PHONY: demo-check
demo-check: assets bin/countersign ## the demo headless: an attack must be challenged and cleared; prints one JSON line
	@bin/countersign up --demo --check

.PHONY: compose-up
compose-up: ## run the services on Apache Kafka and ClickHouse in containers (see deploy/README.md); SCALE=detector=3
	@deploy/secrets.sh
	COUNTERSIGN_VERSION=$(VERSION) docker compose up --build --detach --wait $(addprefix --scale ,$(SCALE))

.PHONY: compose-down
compose-down: ## stop the containers and keep their data
	docker compose down

.PHONY: assets
assets: ## fetch the ClickHouse engine and the geo databases (once, about 800 MB unpacked)
	@tools/assets/install.sh

.PHONY: assets-engine
assets-engine:
	@tools/assets/install.sh engine

##@ test

.PHONY: test
test: assets-engine ## all tests on the embedded broker and engine
	@$(TEST) $(PKGS)

.PHONY: test-short
test-short: ## the quick tests, no assets needed
	@$(TEST) -short $(PKGS)

.PHONY: test-race
test-race: assets-engine ## the quick tests under the race detector
	@$(TEST) -race -short $(PKGS)

.PHONY: test-kafka
test-kafka: assets-engine ## the tests of stream, state and crashes on a real Apache Kafka (needs Java 17 and Maven)
	@mkdir -p $(CACHE)/bin
	@$(GO) build -o $(CACHE)/bin/kafka ./tools/kafka
	@$(CACHE)/bin/kafka -cache $(CACHE)/kafka -- $(TEST) -count=1 $(KAFKA_PKGS)

.PHONY: test-rules
test-rules: ## the alert rules and the queries of the dashboards, by Prometheus' own engine
	@cd tools/promtool && $(TEST) ./...

.PHONY: test-web
test-web: assets bin/countersign ## the dashboard: unit tests, then headless Chromium with a demo behind it
	@web/e2e/run.sh

.PHONY: fuzz-api
fuzz-api: assets ## send the API what its document allows and what it does not, for FUZZAPI_SECONDS (120); needs python3
	@GO="$(GO)" tools/fuzzapi/run.sh $(FUZZAPI_SECONDS)

.PHONY: screenshots
screenshots: assets bin/countersign ## the pictures of docs/dashboard.md, by the tests of the dashboard
	@mkdir -p docs/images $(CACHE)/web/shots
	@SHOTS=$(CACHE)/web/shots web/e2e/run.sh views.spec.ts
	@for f in $$(grep -o 'images/[a-z-]*[.]png' docs/dashboard.md | sort -u); do cp $(CACHE)/web/shots/$${f#images/} docs/$$f; done
	@$(GO) run ./tools/shots docs/images/*.png

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	@GO="$(GO)" tools/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: assets bin/countersign ## throughput and latency of ingest, detector, pipeline, archive and SDK
	@for what in ingest detector latency archive sdk; do bin/countersign bench $$what || exit 1; done

.PHONY: cover
cover: assets-engine ## coverage of all tests, in .cache/coverage.html
	@mkdir -p $(CACHE)
	@$(TEST) -coverpkg=./... -coverprofile=$(CACHE)/coverage.out $(PKGS)
	@$(GO) tool cover -html=$(CACHE)/coverage.out -o $(CACHE)/coverage.html
	@$(GO) tool cover -func=$(CACHE)/coverage.out | tail -n 1

##@ keep in order

.PHONY: lint
lint: web/node_modules/.locked ## the house rules, as .golangci.yml and web/biome.json have them
	@$(LINT) run
	@cd web && npm run --silent check

.PHONY: fmt
fmt: web/node_modules/.locked ## format all code
	@$(LINT) fmt
	@cd web && npm run --silent format

.PHONY: generate
generate: web/node_modules/.locked ## remake the generated code, and the API's description with the dashboard's types of it
	@$(GO) generate ./...
	@cd web && npm run --silent generate

.PHONY: check-config
check-config: bin/countersign ## check every configuration that is shipped
	@for file in deploy/config/*.yaml; do echo $$file; bin/countersign config check --config $$file || exit 1; done

.PHONY: vuln
vuln: ## known vulnerabilities in what the binaries call (asks the Go vulnerability database)
	@$(DEV) govulncheck ./...

.PHONY: verify
verify: lint generate test test-race ## what a change must pass: lint, generated code up to date, tests, race detector
	@git diff --exit-code -- '*.go' web/openapi.json web/src/api/schema.d.ts || { echo "make generate changed the files above: commit them" >&2; exit 1; }

.PHONY: clean
clean: ## remove what was built; fetched assets stay in .cache
	rm -rf bin dist web/dist/assets web/dist/index.html* .cache/bin .cache/ci .cache/web/*.png .cache/coverage.*
