# `make help` is the table of contents. A fresh machine needs git, make and Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: e2e-k8s jaeger k8s-tools chart report collect help setup develop models compiled run test unit integration e2e bench bench-stop bench-stop-real bench-orchestration bench-engine bench-accuracy bench-ahead bench-busy bench-scaling peers bench-score bench-ledger bench-exporter cost-tree check lint fmt types protos protos-check histories clean

UV_VERSION := 0.13.9
# uv from PATH, or one of our own in .tools/
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --locked --extra local
TANDEM := $(RUN) tandem
PROTOS := $(wildcard protos/tandem/v1/*.proto)
PAIR ?= qwen2.5-coder-1.5b-0.5b
Q ?= Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did Natalia sell altogether in April and May?
export Q
export UV_PROJECT_ENVIRONMENT ?= .venv

help:  ## this table
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

.tools/bin/uv:
	python3 -m venv .tools && .tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

setup: $(filter .tools/bin/uv,$(UV))  ## install what the main job needs into .venv, as uv.lock names it
	@$(UV) sync --locked --inexact --extra local

develop: $(filter .tools/bin/uv,$(UV))  ## the same and what tests and training need
	@$(UV) sync --locked --inexact --extra local --extra training

models: setup  ## download, check and convert the default pair (once)
	@$(TANDEM) models pull

compiled: models  ## compile the default pair for this processor: up to 2.5 times as fast (once; minutes, a C++ compiler, 16 GB)
	@$(TANDEM) models compile

run: models  ## two real models answer one question: make run Q="..."
	@$(TANDEM) ask --up "$$Q"

test: develop  ## all tests: real servers, models that the tests make
	@$(RUN) pytest

unit: develop  ## the fast ones
	@$(RUN) pytest tests/unit tests/test_architecture.py

integration: develop  ## requests through real gateway, Temporal and Redis
	@$(RUN) pytest tests/integration

e2e: develop jaeger  ## the local stack's real processes, killed and started again, and a real Jaeger
	@$(RUN) pytest tests/e2e

jaeger: setup  ## build Jaeger into the cache folder, once (needs Go; some minutes)
	@deploy/build-jaeger.sh

k8s-tools: setup  ## kubectl and helm into the cache folder, once
	@$(RUN) python -m tests.e2e.k8s.get_tools

report: develop  ## train, calibrate and judge the default pair's stop rule anew, from the collected files (minutes)
	@$(RUN) training/report.sh $(PAIR)

collect: models develop  ## collect anew what `make report` needs (a day of two cores; broken off, it goes on)
	@$(RUN) training/collect.sh $(PAIR)

chart: develop  ## make anew what of the chart is made from other files
	@$(RUN) python -m deploy.chart

cost-tree: models jaeger  ## docs/cost-tree.svg, the README's picture, from a real trace of the real pair
	@$(TANDEM) up --jaeger && { $(TANDEM) ask --request-id cost-tree-$$$$ --threshold 1=0 "$$Q" && sleep 2 && \
	  $(TANDEM) trace cost cost-tree-$$$$ --svg docs/cost-tree.svg; result=$$?; $(TANDEM) down; exit $$result; }

bench: bench-stop bench-orchestration bench-ledger bench-exporter  ## every figure that needs no real model

bench-score: models develop  ## scoring stage by stage against scoring each afresh, on the real small model
	@$(RUN) python -m bench.score

K8S ?= $(HOME)/.cache/tandem/k8s

e2e-k8s: models develop jaeger k8s-tools  ## the chart on a real two-node cluster with fake GPUs; root, Go, containerd, buildah (builds once, some 15 minutes)
	@bash tests/e2e/k8s/build.sh $(K8S) && bash tests/e2e/k8s/images.sh $(K8S) worker gateway
	@TANDEM_K8S=$(K8S) $(RUN) python -m tests.e2e.k8s.cluster up && { \
	  TANDEM_K8S=$(K8S) $(RUN) nsenter --net=/run/netns/kn1 pytest tests/e2e/k8s -v; result=$$?; \
	  TANDEM_K8S=$(K8S) $(RUN) python -m tests.e2e.k8s.cluster down; exit $$result; }

peers: models develop  ## llama.cpp and vLLM for CPUs into the cache folder, to be measured against (minutes)
	@$(RUN) python -m bench.peers qwen2.5-coder-0.5b-instruct qwen2.5-coder-1.5b-instruct

bench-engine: peers compiled  ## our engine against llama.cpp and vLLM, on the same weights and prompts
	@$(RUN) python -m bench.engine --model slm
	@$(RUN) python -m bench.engine --model llm --widths 1 --rounds 5

bench-accuracy: compiled develop  ## answers of both models in bfloat16 and in int8, compiled, 100 questions (half an hour)
	@$(RUN) python -m bench.accuracy --model slm
	@$(RUN) python -m bench.accuracy --model llm

bench-ahead: compiled develop  ## from the stop to the answer's first token, with and without reading ahead
	@$(RUN) python -m bench.ahead

bench-busy: compiled develop  ## one and three model processes on the same cores: how threads wait (ten minutes)
	@$(RUN) python -m bench.busy

bench-scaling: develop  ## requests per second at 1 to 64 concurrent, beside a bare Temporal workflow
	@$(RUN) python -m bench.scaling

bench-ledger: setup  ## are the bills exact? 200 mixed requests, then the same with 20 processes killed
	@$(RUN) python -m bench.ledger

bench-exporter: setup  ## does a broken trace collector slow requests down?
	@$(RUN) python -m bench.exporter

bench-stop: setup  ## decision -> engine halted, 200 requests with a fast test engine, one by one and 16 at once
	@$(RUN) python -m bench.stop --runs 200
	@$(RUN) python -m bench.stop --runs 200 --concurrent 16 --token-ms 50

bench-stop-real: compiled  ## the same, 50 requests on the real pair (half an hour)
	@$(RUN) python -m bench.stop --runs 50 --real

bench-orchestration: setup  ## what the system adds to the same work called in one process
	@$(RUN) python -m bench.orchestration

check: lint types protos-check test  ## all that CI runs

lint: develop  ## ruff
	@$(RUN) ruff check . && $(RUN) ruff format --check .

fmt: develop  ## let ruff put things in order
	@$(RUN) ruff check --fix . && $(RUN) ruff format .

types: develop  ## mypy, strict
	@$(RUN) mypy

protos: setup  ## generate the stubs anew
	@PATH="$$PWD/$(UV_PROJECT_ENVIRONMENT)/bin:$$PATH" $(RUN) python -m grpc_tools.protoc -Iprotos --python_out=. --grpc_python_out=. \
	  --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)

protos-check: protos  ## the committed stubs are those of the contract
	@git diff --exit-code --stat -- tandem/v1

histories: develop  ## record the workflow histories that must replay, after a change that is meant to break them
	@TANDEM_RECORD=1 $(RUN) pytest tests/integration/test_replay.py

clean:  ## remove what make made here; models and state stay in the user's folders
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache
