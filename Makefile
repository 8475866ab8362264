# The logic is Go (test/suite, cli/demo); make only names it. `make` prints this help.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := bin
FUZZTIME ?= 60s
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X penstock.dev/penstock/cli.Version=$(VERSION) -X main.version=$(VERSION)

##@ Use
.PHONY: demo build help
help: ## print this help
	@awk 'BEGIN{FS=":.*## "} /^##@/{printf "\n%s\n", substr($$0,5)} /^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## the main job on loopback: hubs, spokes, a provider; ONCE=1 exits after the checks
	@$(BIN)/penstock demo --bin $(BIN) $(if $(ONCE),--once)

build: ## bin/hub, bin/spoke, bin/penstock, bin/provider
	@mkdir -p $(BIN)
	go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/hub ./cmd/spoke ./cmd/penstock ./examples/provider

##@ Test
.PHONY: test check interop lint generate verify-generate fuzz race bench vuln
test: ## vet, floors and all tests; no root, network or cluster
	go run ./test/suite test

check: lint verify-generate fuzz race ## what CI runs after test

interop: ## with programs of other makers: curl, nghttp2, grpc-go, Chromium, h2spec, slowhttptest; root, Debian
	go run ./test/suite interop

lint: ## golangci-lint, version pinned in tools/go.mod
	go tool -modfile=tools/go.mod golangci-lint run ./...

generate: ## deepcopy functions, CRDs and the schemas of the Gateway API; tools and releases are pinned
	go tool -modfile=tools/go.mod controller-gen object paths=./apis/v1alpha1/...
	mv apis/v1alpha1/zz_generated.deepcopy.go apis/v1alpha1/zz_generated_deepcopy.go
	go tool -modfile=tools/go.mod controller-gen crd paths=./apis/v1alpha1/... output:crd:dir=deploy/crds
	go run ./deploy/gen

verify-generate: generate
	@git diff --exit-code -- apis deploy || { echo "generated files differ: run 'make generate' and commit"; exit 1; }

fuzz: ## every fuzz target, FUZZTIME (60s, or 10000000x: so many inputs) in all
	go run ./test/suite fuzz $(FUZZTIME)

race: ## the race tests that `make test` leaves out (Kubernetes and etcd linked in)
	go run ./test/suite race

bench: build ## our chain beside plain reverse proxies, in one run; writes docs/reports/bench.md
	go run ./bench -bin $(BIN) -out docs/reports/bench.md

vuln: ## govulncheck; needs a vulnerability database in GOVULNDB
	go tool -modfile=tools/go.mod govulncheck -db "$(GOVULNDB)" ./...
