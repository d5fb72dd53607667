# `make` alone explains. What CI runs is `make test`, nothing else.
.DEFAULT_GOAL := help
.PHONY: help setup clients control-plane test lint matrix results bench lock clean

bin := .venv/bin
# More arguments for `watcher run`: make matrix ARGS='--stacks python-urllib3'
ARGS ?=
# Of `make matrix`: few enough for a first look. All: make matrix STACKS='*'
STACKS ?= python-kubernetes,python-kubernetes-informer,python-kubernetes-asyncio,python-urllib3
# What `make results` runs and publishes: the seven scenarios of the README for every stack and profile, and for the
# official Python client what the API server's own keepalive does.
comma := ,
SCENARIOS := control,azure-slb,azure-slb-reset-lost,azure-slb-silent,aws-nlb,gcp-vpc,blackhole
RESULTS_CELLS ?= */*/$(subst $(comma),$(comma)*/*/,$(SCENARIOS)),python-kubernetes/*/azure-slb*-server-180s
RESULTS_RUN ?= runs/results-$(shell date -u +%Y%m%d-%H%M%S)
# Of `make test`: processes that share the tests. Most of these wait, so that there are more of them than of processors;
# 0 runs all in one. A file of tests stays in one process, and the order is tests/order.py's.
TEST_WORKERS ?= 3
TEST_OPTIONS ?=

help: ## this text
	@printf '%s\n' 'make <target>; the first time, each sets up what it needs' ''
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 17
	@printf '%s\n' '' 'PYTHON=… picks the interpreter, WATCHER_CACHE=… the folder for client environments.'

setup: ## system tools, .venv with the watcher command, the environments of the Python client libraries
	@tools/setup.sh

# The seven scenarios of the README with the profiles that tell the most. `watcher run` alone is everything, in true time.
matrix: setup ## run the matrix in the lab, twelve times faster than the cloud (STACKS='*' is every language; ARGS='…' adds arguments)
	$(bin)/watcher run --scale 12 --stacks '$(STACKS)' --profiles default,tcp-keepalive,read-timeout \
		--scenarios $(SCENARIOS) $(ARGS)

results: control-plane ## run in true time, on the real control plane, each cell twice, and publish it under results/ (RESULTS_CELLS='…' chooses)
	run='$(RESULTS_RUN)' && $(bin)/watcher run --control-plane kubernetes --cells '$(RESULTS_CELLS)' --repeat 2 --tie-break --output "$$run" $(ARGS) \
		&& $(bin)/watcher publish "$$run"

lint: setup ## ruff, mypy, import-linter
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports --no-logo

clients: setup ## build the client programs of all languages that this machine has the tools for (some minutes, once)
	$(bin)/watcher build

control-plane: setup ## build the real control plane from its Go modules (some minutes, once); runs use it from then on
	$(bin)/watcher build control-plane

# On a user's machine the tests that need it are skipped where it was never built; in CI nothing is.
test: lint $(if $(filter true,$(CI)),clients control-plane) ## lint, then all tests, in several processes (TEST_WORKERS=1, 2, …; TEST_OPTIONS='…' adds arguments of pytest)
	$(bin)/pytest --numprocesses=$(TEST_WORKERS) --dist=loadfile --no-loadscope-reorder $(TEST_OPTIONS)

bench: setup ## speed and memory of lab, journal, judge, page and each stack that is built
	$(bin)/python -m tests.bench

lock: ## pin all dependencies again, at their newest
	$(bin)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --universal \
		--python-version 3.11 --group dev pyproject.toml --output-file requirements.lock

clean: ## remove .venv and caches inside the checkout (not client environments, not runs)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
