# What people run; `make help` lists it. Needs make, Python 3.11 or newer with its venv module, and pip's packages.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The first of these that is new enough and can make environments is used; `make run PYTHON=…` names another.
PYTHON ?= python3.13 python3.12 python3.11 python3.14 python3
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help run test check faults bench containers pins clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/installed ## start the API and the scheduler on http://127.0.0.1:8000; Ctrl-C stops both
	@$(BIN)/understudy run

test: $(VENV)/installed-dev ## run the whole suite but the long campaigns
	@$(BIN)/python -m pytest --numprocesses 2

check: $(VENV)/installed-dev ## lint, formatting, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

faults: $(VENV)/installed-dev ## the long campaigns of kills and broken input; takes about an hour
	@$(BIN)/python -m pytest -m slow --verbose

bench: $(VENV)/installed-dev ## measure how fast predictions are, and write docs/performance.md (needs wrk, quiet, ten minutes)
	@$(BIN)/python -m bench.serving

containers: $(VENV)/installed-dev ## build the image and prove both services under Compose (needs a Docker engine)
	@TEST_CONTAINERS=1 $(BIN)/python -m pytest -m containers --verbose

pins: ## write the files of pins again after a change of pyproject.toml, keeping what still fits (needs uv)
	@$(COMPILE) --output-file requirements.txt
	@$(COMPILE) --extra dev --constraints requirements.txt --output-file requirements-dev.txt

COMPILE := uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	--only-binary :all: --emit-build-options --no-annotate --custom-compile-command 'make pins'

clean: ## remove the environment and the caches; models, events, tokens and logs stay
	@rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last: after a Ctrl-C or a lost network the next call goes on where this one stopped.
$(VENV)/installed: requirements.txt pyproject.toml
	@$(BIN)/python -c 'import pip; $(NEW_ENOUGH)' 2>/dev/null || { \
		for name in $(PYTHON); do \
			if "$$name" -c 'import ensurepip, venv; $(NEW_ENOUGH)' 2>/dev/null; then python=$$name; break; fi; \
		done; \
		test -n "$$python" || { echo 'No Python 3.11 or newer with its venv module was found. Install one (Debian: apt install python3-venv), or name it: PYTHON=/path/to/python.' >&2; exit 1; }; \
		echo "Making $(VENV) with $$python."; \
		"$$python" -m venv --clear $(VENV); }
	@echo 'Installing what Understudy runs with; this takes about a minute.'
	@$(PIP) install --requirement requirements.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@echo 'Installing what the tests need.'
	@$(PIP) install --requirement requirements-dev.txt
	@touch $@
