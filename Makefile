# Everything a person runs. `make help` lists it.
PYTHON ?= python3
# Another Airflow than the pinned one, in an environment of its own: `make test AIRFLOW=3.4.0b2`.
AIRFLOW :=
VENV := .venv$(addprefix -,$(AIRFLOW))
CONSTRAINTS := $(if $(AIRFLOW),$(VENV)/constraints.txt,constraints.txt)
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
# Where tasks run in `make up` and `make run`: `local` on this machine, `celery` in two workers with disks of their own.
EXECUTOR := local
# What `make run` needs, on top of it what it needs with Celery, and what tests and checks need.
SANDBOX := $(VENV)/.sandbox-installed
CELERY := $(VENV)/.celery-installed
DEV := $(VENV)/.dev-installed
# The environment of tests has all of it.
STACK = $(if $(filter local,$(EXECUTOR)),$(SANDBOX),$(if $(wildcard $(DEV)),$(DEV),$(CELERY)))
# Leaves in the environment what is asked for, in the versions of constraints.txt, and nothing else.
install = $(UV) compile --quiet --no-header --no-annotate --python $(BIN)/python --constraint $(CONSTRAINTS) pyproject.toml $(1) --output-file $(VENV)/requirements.txt && \
	echo '--editable .' > $(VENV)/project.txt && \
	$(UV) sync --quiet --python $(BIN)/python --compile-bytecode --build-constraint $(CONSTRAINTS) $(VENV)/requirements.txt $(VENV)/project.txt

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(SANDBOX): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifdef AIRFLOW
	{ grep -Ev '^apache-airflow(-core|-task-sdk)?==' constraints.txt; echo 'apache-airflow==$(AIRFLOW)'; } > $(CONSTRAINTS)
endif
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) uv
	$(call install,--extra pipeline --group sandbox)
	@touch $@

$(CELERY): $(SANDBOX)
	$(call install,--extra postgres --group celery)
	@touch $@

$(DEV): $(SANDBOX)
	$(call install,--extra all --group dev)
	$(UV) install --quiet --python $(BIN)/python --no-deps --target $(VENV)/legacy-sdk --group legacy-sdk
	@touch $@

.PHONY: setup
setup: $(DEV)  ## Install everything into .venv; tests need no network after it

.PHONY: run
run: $(STACK)  ## Sample documents from S3, through Extend, into a warehouse, on a real Airflow
	$(BIN)/python -m sandbox.stack run --executor $(EXECUTOR)

.PHONY: up
up: $(STACK)  ## The same, left open with the Airflow UI until Ctrl-C; EXECUTOR=celery has two workers
	$(BIN)/python -m sandbox.stack up --executor $(EXECUTOR)

.PHONY: down
down: $(SANDBOX)  ## Stop what an interrupted `make up` or `make run` left
	$(BIN)/python -m sandbox.stack down

.PHONY: test
test: test-fast test-live  ## All tests but the long ones of test-faults

.PHONY: test-unit
test-unit: $(DEV)  ## Pure tests, and one run of each DAG: four minutes
	$(BIN)/pytest -m unit --numprocesses 4 --dist loadfile

.PHONY: test-fast
test-fast: $(DEV)  ## The tests that need no running Airflow
	$(BIN)/pytest -m 'not live and not network and not full' --numprocesses 4 --dist loadfile

.PHONY: test-live
test-live: $(DEV)  ## Those on a real Airflow, which they share; then those that kill its parts, two Airflows at a time
	$(BIN)/pytest tests/live tests/faults -m 'not alone and not full' --numprocesses 4 --maxschedchunk 1 --share-airflow
	$(BIN)/pytest tests/live tests/faults -m 'alone and not full' --numprocesses 2 --maxschedchunk 1

.PHONY: test-faults
test-faults: $(DEV)  ## The long ones on top: 10,000 documents, every way of ending a task by hand, every case of what takes seconds
	$(BIN)/pytest -m 'full and not live and not network' --numprocesses 4 --dist loadfile
	$(BIN)/pytest tests/live tests/faults -m 'not alone' --numprocesses 4 --maxschedchunk 1 --share-airflow
	$(BIN)/pytest tests/live tests/faults -m alone

.PHONY: test-wheel
test-wheel: $(DEV)  ## Install it beside released Airflows, and with FAB; needs PyPI
	$(BIN)/pytest -m network

.PHONY: test-matrix
test-matrix: $(DEV)  ## test-unit on each Python of this machine, and on Airflow's pre-release
	for version in 3.11 3.12 3.13 3.14; do \
	  if python=$$($(BIN)/uv python find --no-python-downloads $$version 2>&-); \
	  then $(MAKE) test-unit PYTHON=$$python VENV=.venv-python-$$version || exit 1; \
	  else echo "There is no Python $$version on this machine."; fi; \
	done
	$(MAKE) test-unit AIRFLOW=3.4.0b2

.PHONY: lint
lint: $(DEV)  ## Ruff, imports (one way, all declared), mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry plugins include
	$(BIN)/mypy

.PHONY: bench
bench: $(DEV)  ## Ours beside what one would write instead, and each part alone, into docs/benchmarks.md; QUICK=1 is small, ONLY="growth rate" runs these parts
	cd tests && ../$(BIN)/python -m bench $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.PHONY: lock
lock: $(DEV)  ## Bring constraints.txt up to the newest releases that fit together
	$(UV) compile --quiet --universal --python-version 3.11 --upgrade --all-extras --no-annotate --no-header --no-emit-index-url pyproject.toml --group dev --output-file constraints.txt

.PHONY: clean
clean:  ## Remove the sandbox's files (not the environment)
	rm -rf .sandbox
