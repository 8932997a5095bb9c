# Everything a person runs. `make help` lists it.
PYTHON ?= python3
# Another Airflow than the pinned one, in an environment of its own: `make test AIRFLOW=3.4.0b2`.
AIRFLOW :=
VENV := .venv$(addprefix -,$(AIRFLOW))
CONSTRAINTS := $(if $(AIRFLOW),$(VENV)/constraints.txt,constraints.txt)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifdef AIRFLOW
	{ grep -Ev '^apache-airflow(-core|-task-sdk)?==' constraints.txt; echo 'apache-airflow==$(AIRFLOW)'; } > $(CONSTRAINTS)
endif
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint $(CONSTRAINTS) --build-constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

.PHONY: setup
setup: $(INSTALLED)  ## Install everything into .venv

.PHONY: run
run: $(INSTALLED)  ## Sample documents from S3, through Extend, into a warehouse, on a real Airflow
	$(BIN)/python -m sandbox.stack run

.PHONY: up
up: $(INSTALLED)  ## The same, left open with the Airflow UI until Ctrl-C
	$(BIN)/python -m sandbox.stack up

.PHONY: down
down: $(INSTALLED)  ## Stop what an interrupted `make up` or `make run` left
	$(BIN)/python -m sandbox.stack down

.PHONY: test
test: test-fast  ## All tests; those on a real Airflow share one: its parts are killed last
	$(BIN)/pytest -m live

.PHONY: test-faults
test-faults: $(INSTALLED)  ## Of these, those that kill, drop, lock and lose things, and count what was paid
	$(BIN)/pytest tests/faults

.PHONY: test-fast
test-fast: $(INSTALLED)  ## The tests that need no running Airflow
	$(BIN)/pytest -m 'not live' --numprocesses 4 --dist loadfile

.PHONY: lint
lint: $(INSTALLED)  ## Ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: bench
bench: $(INSTALLED)  ## What landing costs, beside the barest SQL, in the same run
	cd tests && ../$(BIN)/python -m bench --documents 1000 100000 --into 1000000

.PHONY: lock
lock: $(INSTALLED)  ## Bring constraints.txt up to the newest releases that fit together
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --all-extras --no-annotate --no-header --no-emit-index-url pyproject.toml --group lock --output-file constraints.txt

.PHONY: clean
clean:  ## Remove the sandbox's files (not the environment)
	rm -rf .sandbox
