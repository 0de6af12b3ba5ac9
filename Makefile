# Everything here needs only make and a Python of 3.11 or later; the rest goes into .venv, pinned and hashed.
PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
PROCESSES ?= 3
PYTEST := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal
# The image: its base, the version of the base's Python, and its name.
BASE ?= python:3.11-slim-bookworm
IMAGE_PYTHON ?= 3.11
IMAGE ?= rlm-runtime:latest
IMAGE_EXTRAS := $(addprefix --extra ,code docker documents mcp tables visualize)
DEMO_LOG := build/access.log
DEMO_QUESTION ?= Summarise this access log by parts: which paths and status codes dominate, and where do errors cluster? How many lines contain 500?

MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Hundreds of processes are started by the tests, and each would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup test quick lint format types layers demo bench shots build image docs lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

setup: .venv/.installed ## create .venv with the pinned requirements and the project
	@:

# The environment is made anew when the lock changes, so that it holds what the lock says and nothing else.
.venv/.locked: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is not Python 3.11 or later; name one that is: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "== setup: pinned requirements into .venv"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml
	@echo "== setup: the project, editable"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

test: lint types layers ## run every check and every test
	@echo "== pytest"
	@$(PYTEST)

# A test marked `needs` wants something real that isn't Python: an engine, a browser, a runtime.
quick: setup ## run the tests that need nothing but Python: units, architecture, and the contracts on `local`
	@$(PYTEST) -m "not needs" tests/unit tests/architecture tests/contract/test_local.py

lint: setup ## check style and format
	@echo "== ruff check"
	@$(BIN)/ruff check .
	@echo "== ruff format --check"
	@$(BIN)/ruff format --check .

types: setup ## check types
	@echo "== mypy"
	@$(BIN)/mypy

layers: setup ## check who may import whom
	@echo "== import-linter"
	@$(BIN)/lint-imports --no-logo

format: setup ## format the code, and fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

demo: setup $(DEMO_LOG) ## answer a question about a 50 MB log, with no key and no model
	@echo "== demo: the model 'demo' is a scripted stand-in, not a language model; the loop, sandbox and record are real"
	@echo '$$ rlm run "$(DEMO_QUESTION)" -f $(DEMO_LOG) --model demo'
	@$(BIN)/rlm run "$(DEMO_QUESTION)" -f $(DEMO_LOG) --model demo
	@echo "== demo: each step of that run is on record; to see them: $(BIN)/rlm logs show last"

$(DEMO_LOG): examples/make_access_log.py | setup
	@echo "== demo: generating $@"
	@mkdir -p $(@D)
	@$(BIN)/python examples/make_access_log.py $@

bench: setup ## measure, beside the limits
	@$(BIN)/python -m benchmarks

shots: setup ## pictures of every view of twelve prepared runs, in build/shots/
	@$(BIN)/python -m tests.support.shots

build: setup ## wheel and sdist into dist/
	@$(BIN)/python -m hatchling build

image: setup ## the container image of the service, the page and the command line (needs Docker)
	@rm -rf build/image
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/image .
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps --only-binary :all: --python-version $(IMAGE_PYTHON) \
	  --target build/image/lib -r requirements/image.txt
	@$(BIN)/python -m pip install --quiet --no-deps --only-binary :all: --python-version $(IMAGE_PYTHON) --upgrade \
	  --target build/image/lib build/image/*.whl
	@docker build --build-arg BASE=$(BASE) --tag $(IMAGE) .

docs: setup ## write the generated documents anew
	@for generator in docs/generate_*.py; do $(BIN)/python $$generator || exit 1; done

lock: ## pin the requirements anew (needs uv)
	@$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file requirements/dev.txt pyproject.toml requirements/dev.in
	@$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet $(IMAGE_EXTRAS) \
	  --constraint requirements/dev.txt --custom-compile-command "make lock" --output-file requirements/image.txt \
	  pyproject.toml

clean: ## remove what was generated
	rm -rf .venv build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
