# `make help` lists every target. A new machine needs git, make and Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help setup develop models run test test-all unit pictures buildx images tools tool-jaeger tool-k8s tool-browser tool-litellm tool-vllm agents pairs promise paper report savings tables chart bench bench-stop bench-agreement bench-agents bench-engine bench-endpoints bench-rates e2e-k8s gpu-check chaos fuzz check lint fmt types protos protos-check docs security audit package workflows release histories clean

# Where Python is told to keep no compiled code, each of a test run's thousands of processes compiles what it imports: more than half of a start.
unexport PYTHONDONTWRITEBYTECODE

# uv from PATH, or one that is installed into .tools/
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --quiet --locked --extra local
TANDEM := $(RUN) tandem
PROTOS := $(wildcard protos/tandem/v1/*.proto)
SECOND_ORDER := $(wildcard $(patsubst %,tests/integration/test_%.py,bills cancel costs request_log stop stream trials))
K8S_TESTS ?= tests/e2e/k8s
PAIR ?= qwen2.5-coder-1.5b-0.5b
export Q
export UV_PROJECT_ENVIRONMENT ?= .venv
# Some images set this; each process would then compile all that it imports, at each start.
unexport PYTHONDONTWRITEBYTECODE

help:  ## list the targets
	@grep -hE '^[a-z0-9%-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

.tools/bin/uv:
	python3 -m venv .tools && .tools/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement deploy/uv.txt

# Installs in silence; says so where that takes a while.
sync = $(UV) sync --locked --inexact $(1) --check --quiet 2>/dev/null || { \
	  echo 'Installing into $(UV_PROJECT_ENVIRONMENT) (minutes the first time) ...' && $(UV) sync --quiet --locked --inexact $(1); }

EXTRA ?= local
setup: $(filter .tools/bin/uv,$(UV))  ## install what `make run` needs into .venv, in the versions of uv.lock
	@$(call sync,--extra $(EXTRA))

# PyPI's torch for Linux on x86 brings CUDA's libraries (4 GB). Its build without them is on an index of its own, in the same version.
TORCH ?= cuda
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
CUDA = $(UV) export --quiet --locked --no-hashes --no-emit-workspace --group lab | grep -oE '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)=='

develop: $(filter .tools/bin/uv,$(UV))  ## setup, and what tests and training need; TORCH=cpu: without CUDA's 4 GB
ifeq ($(TORCH),cpu)
	@$(UV) sync --quiet --locked --inexact --extra local --group lab --group dev --group docs $$($(CUDA) | sed 's/==//; s/^/--no-install-package /')
	@$(UV) pip install --quiet --no-deps --index-url $(TORCH_CPU_INDEX) "$$($(UV) export --quiet --locked --no-hashes --no-emit-workspace --group lab | grep -oE '^torch==[^ ]+')"
else
	@$(call sync,--extra local --group lab --group dev --group docs)
endif

models: setup  ## download and verify the default pair, and convert it where the engine needs that (once)
	@$(TANDEM) models pull

run: setup  ## let two real models complete a function (examples/running_total.txt), or answer: make run Q="..."
	@if [ -n "$$Q" ]; then $(TANDEM) ask --up -v "$$Q"; else \
	  $(TANDEM) ask --up -v --code - < examples/running_total.txt && \
	  echo 'A question in words: make run Q="Tom has 3 apples and buys 4 more. How many has he?"'; fi
	@echo 'To keep it running: source $(UV_PROJECT_ENVIRONMENT)/bin/activate, then tandem up; open http://127.0.0.1:8080 to watch, OpenAI clients use http://127.0.0.1:8080/v1'

# Whole files in LANES processes, each with servers of its own, those with long tests first. 0: one after the other.
LANES ?= 2
PYTEST = $(RUN) pytest -n $(LANES) --dist loadfile --no-loadscope-reorder --durations=25 --durations-min=2

test: develop  ## the tests: real servers, and small models that the tests create; TESTS="..." for some of them
	@$(PYTEST) $(or $(TESTS),-m "not nightly")

test-all: develop  ## test, what is marked nightly, and again in another order what a leaking test would change: unit, bills, streams
	@$(PYTEST)
	@$(PYTEST) tests/unit tests/test_architecture.py $(SECOND_ORDER)

UNIT ?= tests/unit tests/test_architecture.py
unit: develop  ## the fast tests (UNIT="..." for some of them)
	@$(PYTEST) $(UNIT)

pictures: develop  ## draw the pictures of docs/page.md from the page itself (needs Chromium)
	@TANDEM_PICTURES=docs/page $(RUN) pytest -p no:randomly tests/integration/test_page_pictures.py -k axe

VERSION = $(shell awk -F '"' '/^version = / { print $$2; exit }' pyproject.toml)
IMAGES ?= default
PLATFORMS ?=
PYTHON_IMAGE ?=
COMMIT = $(shell git diff --quiet HEAD 2>/dev/null && git rev-parse --short=12 HEAD)
BAKE = TAG=$(VERSION) COMMIT=$(COMMIT) PLATFORMS="$(PLATFORMS)" PYTHON_IMAGE="$(PYTHON_IMAGE)" docker buildx bake -f deploy/docker-bake.hcl

buildx:
	@docker buildx version >/dev/null 2>&1 || { echo 'images need docker with its plugin buildx; deploy/Dockerfile names the same builds without it' >&2; exit 1; }

IN_KIND = $(BAKE) kind && $(or $(LOAD),kind load docker-image --name $(KIND)) tandem.local/tandem:$(VERSION)
PUSHED = REGISTRY=$(PUSH) $(BAKE) --push --metadata-file dist/images.json $(IMAGES)
images: buildx  ## build the images; PUSH=registry.example.com/ai pushes them (IMAGES="gpu roles" PLATFORMS=linux/amd64,linux/arm64); KIND=kind loads the one for CPUs into that cluster (k3d: LOAD="k3d image import")
	@$(if $(PUSH),$(PUSHED),$(if $(KIND)$(LOAD),$(IN_KIND),$(BAKE) --load $(IMAGES)))

# What tests and benches need beside Python: each is installed once, into the cache folder but for the browser.
TOOLS ?= jaeger k8s
tools: $(addprefix tool-,$(TOOLS))  ## install what tests and benches need, once: TOOLS="jaeger k8s browser litellm vllm" (Go; kubectl, helm, promtool; Chromium on Debian as root; LiteLLM's proxy; vLLM for CPUs)

tool-jaeger: setup
	@deploy/build-jaeger.sh

tool-k8s: develop
	@$(RUN) python -m tests.e2e.k8s.get_tools

tool-browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { apt-get -qq update && apt-get -qq install -y chromium >/dev/null; }

tool-litellm: develop
	@bin=$$($(RUN) python -c 'from tandem.paths import programs_folder; print(programs_folder())') && \
	  $(UV) venv --quiet --allow-existing --python .venv/bin/python $$bin/litellm-proxy && \
	  $(UV) pip install --quiet --python $$bin/litellm-proxy/bin/python 'litellm[proxy]==1.89.7'

tool-vllm: develop
	@UV=$(UV) $(RUN) python -m lab.bench.vllm

agents: develop  ## fourteen coding agents as people install them (npm, PyPI), each through Tandem and directly before a scripted vendor: the table in docs/results.md (half an hour; ONLY=codex,aider)
	@UV=$(UV) $(RUN) python -m lab.bench.agents $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json)

pairs: develop  ## compute docs/pairs.md, real pairs by published answers, from the facts again (seconds)
	@$(RUN) python -m lab.pairs

promise: develop  ## simulate promises that learn on live traffic: false ones, the spend, what a change loses (minutes; RUNS=n, SEED=n)
	@$(RUN) python -m lab.promise.simulate $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))

paper: develop  ## the tables and the picture of docs/paper.md, the replication, from the collected files (ten minutes)
	@$(RUN) python -m lab.paper

report: $(if $(COLLECT),models) develop  ## train, calibrate and evaluate the default pair's stop rule from the collected files, of transformers in int8 (minutes); COLLECT=1: ask the models what is missing first (a day on two cores)
	@$(if $(COLLECT),$(RUN) lab/training/collect.sh $(PAIR))
	@$(RUN) lab/training/report.sh $(PAIR)

savings: $(if $(COLLECT),models) develop  ## the table of savings on llama.cpp, the engine that ships, in README.md and docs/results.md (minutes); COLLECT=1: ask the models what is missing first (hours)
	@$(RUN) lab/training/savings.sh $(PAIR) $(if $(COLLECT),collect)

tables: develop  ## write docs/settings.md, docs/openai-parameters.md, deploy/redis-users.acl, and the tables of docs/access.md and docs/redis.md: who may call what, as the tests find it
	@$(RUN) python docs/gen_settings.py
	@$(RUN) python docs/gen_parameters.py
	@TANDEM_TABLES=1 $(RUN) pytest tests/integration/access tests/integration/redis/test_user_tables.py tests/unit/test_redis_users.py

chart: develop  ## generate the parts of the chart that repeat other files
	@$(RUN) python -m deploy.chart

bench: develop  ## the benches that need no real model: stop, orchestration, ledger, scaling; BASE=path: of that checkout and of this one, in turns
	@for bench in stop orchestration ledger scaling; do \
	  $(if $(BASE),$(RUN) python -m lab.bench.compare $$bench $(BASE) .,$(MAKE) --no-print-directory bench-$$bench) || exit 1; done

bench-%: develop  ## one of these, or endpoints, engine, rates (with the default pair), agreement, agents; REAL=1: stop and agreement with the default pair
	@$(RUN) python -m lab.bench.$*

bench-stop: $(if $(REAL),models) develop
	@$(RUN) python -m lab.bench.stop $(if $(REAL),--runs 50 --real,--runs 200)
	@$(if $(REAL),,$(RUN) python -m lab.bench.stop --runs 200 --concurrent 16 --token-ms 50)

bench-agreement: $(if $(REAL),models) develop
	@$(RUN) python -m lab.bench.agreement $(if $(REAL),--real)

bench-agents: tool-litellm
	@$(RUN) python -m lab.bench.agents.added_time

bench-engine: models develop
	@$(TANDEM) models pull --engine transformers
	@for model in slm llm; do $(RUN) python -m lab.bench.engine --model $$model || exit 1; done

bench-endpoints: models develop
	@$(RUN) python -m lab.bench.endpoints

bench-rates: models develop
	@$(RUN) python -m lab.bench.rates $(if $(WRITE),--write)

K8S ?= $(HOME)/.cache/tandem/k8s
K8S_LANES ?= 0
# Files in K8S_LANES processes (0: one after the other; two cores hold no more), then those that need the whole cluster. 5: "there are none".
K8S_PYTEST = TANDEM_K8S=$(K8S) $(RUN) nsenter --net=/run/netns/kn1 pytest $(K8S_TESTS) -v
K8S_RUN = { $(K8S_PYTEST) -m "not alone" -n $(K8S_LANES) --dist loadfile || [ $$? -eq 5 ]; } && { $(K8S_PYTEST) -m alone || [ $$? -eq 5 ]; }

e2e-k8s: develop tool-jaeger tool-k8s  ## test the chart on a real two-node cluster with fake GPUs (root, Go, containerd, buildah; the first build takes half an hour)
	@$(TANDEM) models pull --engine llamacpp
	@bash tests/e2e/k8s/build.sh $(K8S) && bash tests/e2e/k8s/images.sh $(K8S) worker gateway
	@TANDEM_K8S=$(K8S) $(RUN) python -m tests.e2e.k8s up && { \
	  $(K8S_RUN); result=$$?; \
	  TANDEM_K8S=$(K8S) $(RUN) python -m tests.e2e.k8s down; exit $$result; }

gpu-check: develop  ## where there is an NVIDIA GPU: engines' promises on cuda and vllm, a stop, a bill, a long request, two GPUs; prints what to send back (MODEL=folder)
	@$(RUN) python -m lab.bench.gpu_check $(if $(MODEL),--model $(MODEL))

chaos: develop  ## a thousand faults under five thousand requests on local stacks, with an oracle after each round (an hour; SEED=n goes on where it stood)
	@$(RUN) python -m lab.bench.chaos --seed $(or $(SEED),0)

fuzz: develop  ## 300 hostile inputs to each method and path, some 30,000 in all, and 5,000 replies of endpoints, while a bystander asks (ten minutes; CASES=4000 for more)
	@TANDEM_FUZZ_CASES=$(or $(CASES),300) TANDEM_HOSTILE_REPLIES=417 $(RUN) pytest tests/integration/hostile tests/unit/test_hostile_endpoints.py

check: lint types protos-check docs package test  ## lint, types, generated files, docs, package and tests

lint: develop  ## check with ruff
	@$(RUN) ruff check . && $(RUN) ruff format --check .

fmt: develop  ## format and fix with ruff
	@$(RUN) ruff check --fix . && $(RUN) ruff format .

types: develop  ## check types with mypy, strict
	@$(RUN) mypy

protos: develop  ## generate the gRPC stubs
	@PATH="$$PWD/$(UV_PROJECT_ENVIRONMENT)/bin:$$PATH" $(RUN) python -m grpc_tools.protoc -Iprotos --python_out=. --grpc_python_out=. \
	  --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)
	@PATH="$$PWD/$(UV_PROJECT_ENVIRONMENT)/bin:$$PATH" $(RUN) python -m grpc_tools.protoc -Iprotos/inference --python_out=workflows/activities \
	  --mypy_out=quiet:workflows/activities grpc_predict_v2.proto

protos-check: protos  ## check that the committed stubs match the contract
	@git diff --exit-code --stat -- tandem/v1 workflows/activities/grpc_predict_v2_pb2.py*

docs: $(filter .tools/bin/uv,$(UV))  ## build the documentation into site/; fails on a broken link
	@NO_MKDOCS_2_WARNING=1 $(UV) run --isolated --locked --only-group docs mkdocs build --strict

# Accepted by the scan for secrets: checksums and commits, names of Kubernetes secrets and of their keys, words of tests.
NO_SECRETS := ^([0-9a-f]{40}|[0-9a-f]{64}|(tandem|temporal)-[a-z-]+|redis-(acl|users)|ai-tls|url|api-key|headers|((payload-)?keys|tenants)\.json|none|secret|passwords?|tester|guessed|s3|p%40)$$
security: $(filter .tools/bin/uv,$(UV))  ## scan for unsafe code, secrets and copyleft licences; list all packages in dist/sbom.json and dist/licenses.md
	@$(call sync,--extra local --group lab --group dev --group security)
	@$(RUN) bandit -q -c pyproject.toml -r tandem services workflows deploy lab
	@git ls-files | grep -vE '\.jsonl?$$|^uv\.lock$$|_pb2' | xargs $(RUN) detect-secrets-hook --no-verify --exclude-secrets '$(NO_SECRETS)'
	@mkdir -p dist && $(UV) export --quiet --locked --no-dev --extra local --extra api --group lab --format cyclonedx1.5 --output-file dist/sbom.json >/dev/null
	@$(RUN) pip-licenses --format=markdown --with-urls --partial-match --fail-on 'GPL;General Public License' > dist/licenses.md

audit: $(filter .tools/bin/uv,$(UV))  ## look the locked packages up in the OSV database of known vulnerabilities (network)
	@$(UV) audit --locked

package: $(filter .tools/bin/uv,$(UV))  ## build wheel and sdist into dist/ and check them
	@rm -rf dist && $(UV) build --quiet --out-dir dist
	@$(UV) run --isolated --locked --only-group package twine check --strict dist/*

workflows:  ## check the workflows of GitHub by actionlint (needs Go)
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# The commit and the tag of a release; what is published is made from the tag: .ci/release.
release: develop  ## cut a release: make release VERSION=X.Y.Z (an hour; CHECKS="check test-all e2e-k8s" also runs the chart on a cluster, as root)
	@[ -z "$$(git status --porcelain)" ] || { echo 'commit first: a release is of a commit' >&2; exit 1; }
	@$(RUN) python -m deploy.release $(VERSION)
	@$(UV) lock --quiet && $(MAKE) chart $(or $(CHECKS),check test-all)
	@git commit --quiet --all --message 'Release $(VERSION)' && git tag --annotate v$(VERSION) --message 'Release $(VERSION)'
	@echo 'git push --follow-tags: the tag is what .ci/release publishes'

histories: develop  ## record the workflow histories that must replay, after an intended incompatible change
	@TANDEM_RECORD=1 $(RUN) pytest tests/integration/test_replay.py tests/integration/test_batch_replay.py

clean:  ## remove what make created here; models and state remain in the user's folders
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache
