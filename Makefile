# `make demo` and `make test` need Python 3.11 or newer, make and git: they set up the rest in .venv.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check chaos chaos-short fuzz fuzz-short competitors bench bench-quick bench-registry bench-stats bench-priority bench-memory bench-effects bench-soak model diagrams clean

# The first Python that is new enough; `make PYTHON=/path/to/python3.12 …` takes another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
PYTEST_ARGS ?=
CHAOS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# There is no wheel for every Python, and to build one takes clang: then `python -m fuzz` says so.
FUZZER = $(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet \
	--disable-pip-version-check --only-binary atheris --constraint constraints.txt --editable '.[fuzz]' \
	|| true

COMPETITORS = $(BIN)/python -c 'import faststream' 2>/dev/null || $(BIN)/python -m pip install --quiet \
	--disable-pip-version-check --constraint constraints.txt --editable '.[bench]'

help: ## Show this list
	@echo "caxton-nats: a durable message bus for software agents. Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

setup: $(READY) ## Make .venv with everything in it (again only after a change of dependencies)

demo: $(READY) ## Watch agents negotiate, one of them die and come back, and nothing get lost
	@$(BIN)/python -m examples.market

test: $(READY) ## Run the tests; PYTEST_ARGS="-k mailbox -x" goes to pytest
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(READY) ## Run the linter, the formatter's check, the type checker and the import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

chaos: $(READY) ## Kill, freeze and cut off everything under load; CHAOS="--seed 7 router-kill" chooses
	@$(BIN)/python -m chaos $(CHAOS)

chaos-short: $(READY) ## The same in a few minutes at most, as CI does it
	@$(BIN)/python -m chaos --short $(CHAOS)

fuzz: $(READY) ## Feed the decoders what nobody has thought of; FUZZ="door --seconds 600" chooses
	@$(FUZZER)
	@$(BIN)/python -m fuzz $(FUZZ)

fuzz-short: $(READY) ## The same in less than a minute, as CI does it
	@$(FUZZER)
	@$(BIN)/python -m fuzz --if-there --seconds 2

bench-soak: $(READY) ## Measure memory while a million messages go through a router
	@$(BIN)/python -m benchmarks.soak

model: $(READY) ## Check the engine against its model by random schedules; SECONDS=300 SEED=
	@$(BIN)/python -m tests.model $(or $(SECONDS),300) $(SEED)

diagrams: $(READY) ## Draw the state diagrams of docs/protocols.md from the tables
	@$(BIN)/python -m tests.docs.diagrams

competitors: $(READY) ## Install what the benchmarks compare with
	@$(COMPETITORS)

bench: competitors ## Measure against the ceiling, nats-py and FastStream, and write docs/performance.md
	@$(BIN)/python -m benchmarks --page

bench-quick: competitors ## The main lines of it, in two minutes
	@$(BIN)/python -m benchmarks --quick

bench-registry: $(READY) ## Measure look-ups, memory per agent, and how soon a fresh router knows everybody
	@$(BIN)/python -m benchmarks.registry

bench-stats: $(READY) ## Measure statistics and health over 10 and 1,000 agents
	@$(BIN)/python -m benchmarks.stats

bench-priority: $(READY) ## Measure how long an urgent message waits behind a backlog
	@$(BIN)/python -m benchmarks.priority

bench-memory: $(READY) ## Measure the memory of a router and others while receivers take nothing, for ten minutes
	@$(BIN)/python -m benchmarks.memory

bench-effects: $(READY) ## Measure what ledger and outbox cost, against fakes that keep nothing
	@$(BIN)/python -m benchmarks.effects

clean: ## Remove .venv, caches and built packages
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	@find caxton_nats tests examples benchmarks chaos fuzz -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The stamp is newer than what it was made from, or the installation is made again.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { \
		echo "caxton-nats needs Python 3.11 or newer, and found none on PATH (python3 is" \
			"$$(python3 --version 2>&1)). Install one, or: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); caxton-nats needs Python 3.11 or newer." >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments." \
			"On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (about a minute the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[server,test,check]'
	@touch $@
