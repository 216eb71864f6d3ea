# Everything a person does with Tally. `make demo` and `make test` set up what they need by themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup-complete

# The tests wait for servers more than they compute. tests/conftest.py says what stays together.
IN_PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

.PHONY: help setup demo docs test check lint types imports sql definitions generate generated openapi lock clean

# Each writes the files that follow from its definitions, in this order: the API's document has the
# descriptions of the metrics.
GENERATORS := tally.events.export tally.metrics.generate serving_api.openapi grafana.dashboards.generate

help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(SETUP) ## build .venv from the hash-locked requirements (uv where it is, pip where it is not)

$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
		|| { echo "Tally needs Python 3.11 or 3.12; 'make PYTHON=python3.11 $(MAKECMDGOALS)' picks one."; exit 1; }
	@if command -v uv > /dev/null; then \
		echo "==> building $(VENV) with uv"; \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) \
		&& uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
		&& uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
		echo "==> building $(VENV) with pip (a few minutes the first time)"; \
		$(PYTHON) -m venv $(VENV) \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

demo: $(SETUP) ## bring the stack up, replay real rounds, materialize, verify; DEMO_EXIT=1 ends there
	@$(BIN)/python -m tally.local.demo $(if $(DEMO_EXIT),--exit)

docs: $(SETUP) ## serve the models' documentation and lineage, from the running stack
	@$(BIN)/tally docs

test: $(SETUP) check ## all checks and all tests
	@echo "==> tests"
	@$(BIN)/python -m pytest $(IN_PARALLEL)

check: lint types imports sql definitions generated ## ruff, mypy, import-linter, the SQL, Dagster, generated files

lint: $(SETUP)
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(SETUP)
	@echo "==> mypy --strict"
	@$(BIN)/mypy

imports: $(SETUP)
	@echo "==> import-linter"
	@$(BIN)/lint-imports --no-cache

sql: $(SETUP)
	@echo "==> exactness of the SQL, sqlfluff"
	@$(BIN)/python -m tests.lint_sql

definitions: $(SETUP)
	@echo "==> dagster definitions validate"
	@$(BIN)/python -m tests.validate_definitions

generate: $(SETUP) ## write what follows from the event contract and the metric definitions
	@for module in $(GENERATORS); do $(BIN)/python -m $$module || exit; done

generated: $(SETUP)
	@echo "==> generated files"
	@for module in $(GENERATORS); do $(BIN)/python -m $$module --check || exit; done
	@$(BIN)/python -m serving_api.compatibility

openapi: $(SETUP) ## write the API's document anew and say what of it would break a client
	@$(BIN)/python -m serving_api.openapi
	@$(BIN)/python -m serving_api.compatibility

lock: ## write both lock files anew from pyproject.toml (needs uv); an image has no development tools
	uv pip compile --python 3.11 --extra build --extra dev --generate-hashes --no-emit-index-url --no-header \
		--output-file requirements.lock pyproject.toml
	uv pip compile --python 3.11 --extra build --generate-hashes --no-emit-index-url --no-header \
		--constraint requirements.lock --output-file docker/requirements.lock pyproject.toml

clean: ## remove the environment and the default stack's state
	rm -rf $(VENV) .tally dbt_project/target
