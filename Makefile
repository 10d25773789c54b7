# Nothing is needed but Python 3.11 or newer, git and make: every target sets up by itself.

ARGS ?=
PG ?=
# Processes for pytest, each with servers of its own; 0 runs a few tests sooner, in one process.
WORKERS ?= 2
# A file stays together, for what its tests share; the long ones, end to end, begin early. A process of
# pytest that dies ends the run: with another in its place the run would wait for ever.
SPREAD = $(if $(filter-out 0,$(WORKERS)),-n $(WORKERS) --dist loadfile --no-loadscope-reorder \
	--max-worker-restart=0)

# How long the soak lasts, and which long tests run.
SECONDS ?= 1800
SOAK ?= tests/soak/test_soak.py

# Against what `make check` looks for breaking changes of the proto: any commit; else the last tag or commit that has another one.
SINCE ?=

# Tried in this order; .venv first, because it is there after the first time.
PYTHON ?=
PYTHONS := $(or $(PYTHON),.venv/bin/python python3.14 python3.13 python3.12 python3.11 python3)
SOUND := import fcntl, ssl, sys; sys.exit(sys.version_info < (3, 11))
NO_PYTHON := setup: Python 3.11 or newer was not found:  apt-get install python3 python3-venv
any_python = for python in $(PYTHONS); do \
	if "$$python" -c '$(SOUND)' >/dev/null 2>&1; then exec "$$python" $(1); fi; \
	done; echo "$(NO_PYTHON)" >&2; exit 1

export BUF_CACHE_DIR := $(CURDIR)/.cache/buf
# Bytecode is kept, as Python does by itself: else each engine that a test starts compiles itself anew.
unexport PYTHONDONTWRITEBYTECODE

bin := .venv/bin
sources := $(wildcard src packages tests tools)
migrations := $(shell find src/settlement_engine/store/sql/migrations -name '*.sql' 2>/dev/null)
protos := $(wildcard src/settlement_engine/proto/*.proto)
doctests := $(wildcard tests/docs)
lane := $(if $(filter 16,$(PG)),pg16)

.DEFAULT_GOAL := help
.PHONY: help setup demo up bench simulate test coverage nightly soak check format proto schema lock clean

help: ## Say what there is.
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

# --- use ------------------------------------------------------------------------------------------

setup: ## Make .venv from the lock; the second time there is nothing to do.
	@$(call any_python,tools/bootstrap.py $(lane))

demo: setup ## Show the promises: start everything, settle, crash, recover, prove the books.
	@$(bin)/settlement-engine demo $(ARGS)

up: setup ## Stay running, with sample data: gRPC, JSON, metrics.
	@$(bin)/settlement-engine dev --sample-data $(ARGS)

bench: setup ## Measure this machine against the specification's numbers.
	@$(bin)/settlement-engine bench $(ARGS)

simulate: ARGS := --worlds 200
simulate: setup ## Run the whole engine in 200 seeded worlds of faults.
	@$(bin)/settlement-engine simulate $(ARGS)

# --- work -----------------------------------------------------------------------------------------

test: setup ## Run the tests; ARGS="-k money", WORKERS=0, PG=16 for PostgreSQL 16.
	@$(if $(PG),SETTLEMENT_TEST_PG=$(PG) )$(bin)/python -m pytest -q \
		$(SPREAD) $(ARGS)

coverage: setup ## Run the tests and print which lines of the source they ran; ARGS="tests/unit".
	@rm -rf .cache/coverage && mkdir -p .cache/coverage
	@$(bin)/coverage run -m pytest -q $(SPREAD) $(ARGS)
	@$(bin)/coverage combine -q && $(bin)/coverage report

nightly: setup ## Run the long forms: worlds, schedules, model, mutants' tests and soak; one line at the end.
	@$(bin)/python tools/nightly.py $(ARGS)

soak: setup ## Kill and freeze everything for 30 minutes; SECONDS=300, SOAK=tests/soak for all long tests.
	@SOAK_SECONDS=$(SECONDS) $(bin)/python -m pytest -q -s --timeout=0 $(SOAK) $(ARGS)

CHECKS := form types imports migrations proto lock docs
.PHONY: $(CHECKS:%=check-%)
check: $(CHECKS:%=check-%) ## Run every check but the tests: a minute or two, then seconds.
	@echo "check: all passed"

format: setup ## Put everything into form.
	@$(bin)/ruff format $(sources)
	@$(bin)/ruff check --fix $(sources)
	@$(if $(protos),$(bin)/python tools/proto.py --imports)
	@$(if $(protos),$(bin)/buf format -w src)

proto: setup ## Make the Python messages from settlement.proto again.
	@$(bin)/python tools/proto.py

schema: setup ## Write schema.sql anew: what all migrations amount to.
	@SETTLEMENT_WRITE_SCHEMA=1 $(bin)/python -m pytest -q -n0 tests/migration/test_schema.py

lock: ## Resolve the dependencies again; UPGRADE=1 takes newer releases.
	@$(call any_python,tools/lock.py $(if $(UPGRADE),--upgrade))
	@$(MAKE) --no-print-directory setup

clean: ## Remove all that make has made, the demo's data too.
	@rm -rf .venv .boot .cache .data .stamps .hypothesis dist build packages/*/dist
	@find src packages tests tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- the checks, one by one -----------------------------------------------------------------------

check-form: setup
	@$(bin)/ruff format --check $(sources)
	@$(bin)/ruff check $(sources)

check-types: setup
	@$(bin)/mypy $(sources)

check-imports: setup
	@$(bin)/lint-imports --no-logo --cache-dir .cache/import-linter

check-migrations: setup
	@$(if $(migrations),$(bin)/squawk $(migrations),echo "check-migrations: none yet")

check-proto: setup
	@$(if $(protos),$(bin)/python tools/proto.py --check,echo "check-proto: no proto yet")
	@$(if $(protos),$(bin)/buf lint)
	@$(if $(protos),$(bin)/buf format --diff --exit-code src)
	@$(if $(protos),$(bin)/python tools/proto.py --breaking $(SINCE))

check-lock: setup
	@$(bin)/python tools/lock.py --check

check-docs: setup
	@$(if $(doctests),$(bin)/python -m pytest -q tests/docs,echo "check-docs: none yet")
