# Everything a developer or a user runs. `make help` lists the targets from their ## remarks.

VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq --retries 8
# Outputs of parallel parts are kept apart where this make can (GNU make 4).
APART := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# Programs are started by the hundred in tests: without bytecode beside them each one would compile all of its modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install lock format lint formatted types layers locked budgets test proof soak testnet cover check check-parts bench demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  \033[1mmake %-9s\033[0m %s\n", $$1, $$2}' Makefile

# --------------------------------------------------------------------------------------- environment

$(BIN)/python:
	@if ! $(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "fundarb needs Python 3.11 or newer; found: $$($(or $(PYTHON),python3) --version 2>&1 || echo none)."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 install"; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot create environments: install its venv package (Debian, Ubuntu: apt install python3-venv)."; \
		exit 1; }

$(VENV)/.installed-runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "Installing the locked libraries into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing the locked libraries and tools into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.installed-runtime

install: $(VENV)/.installed-dev ## create .venv with the hash-locked libraries and tools

lock: $(VENV)/.installed-dev ## write requirements/*.txt anew from pyproject.toml (UPGRADE=1: newest versions)
	$(BIN)/python scripts/locks.py write $(if $(UPGRADE),--upgrade)

# --------------------------------------------------------------------------------------- checks

format: $(VENV)/.installed-dev ## format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

formatted: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run \`make format\`."; $(BIN)/ruff format --check .; exit 1; }

lint: $(VENV)/.installed-dev ## ruff, every rule
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.installed-dev ## mypy --strict over package, tests, benchmarks and scripts
	@$(BIN)/mypy

layers: $(VENV)/.installed-dev ## who may import whom
	@$(BIN)/lint-imports --no-logo >$(VENV)/.layers 2>&1 || { cat $(VENV)/.layers; exit 1; }

locked: $(VENV)/.installed-dev
	@$(BIN)/python scripts/locks.py check

budgets: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest tests/architecture -q --no-header -p no:cacheprovider

check-parts: formatted lint types layers locked budgets

check: $(VENV)/.installed-dev ## everything a machine can say about the code in under a minute
	@$(MAKE) --no-print-directory --keep-going -j2 $(APART) check-parts
	@echo "check: formatted, lint, types, layers, locks, budgets: all in order"

# --------------------------------------------------------------------------------------- tests

# More workers than the smallest machine has cores: a third of the time is waiting for processes and clocks.
WORKERS = 3

# what is said of the code itself is part of `make check`, as `budgets`
test: $(VENV)/.installed-dev ## the test-suite on three workers
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q --ignore=tests/architecture

proof: $(VENV)/.installed-dev ## the long runs: crash matrix, fuzzing, simulated months
	$(BIN)/python -m pytest $(PROOF) -m proof -n $(WORKERS) --dist loadgroup -q

soak: $(VENV)/.installed-dev ## simulated episodes by the thousand (EPISODES=20000 FIRST_SEED=100000)
	FUNDARB_EPISODES=$(or $(EPISODES),20000) FUNDARB_FIRST_SEED=$(or $(FIRST_SEED),100000) \
		$(BIN)/python -m pytest tests/proof -m soak -n 2 --dist load -q

testnet: $(VENV)/.installed-dev ## reads and one smallest position on the testnet, with a key of your own (skips without)
	@$(BIN)/python scripts/testnet.py $(TESTNET_OPTIONS)

cover: $(VENV)/.installed-dev ## branch coverage: at least 95 % overall, 100 % in core
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q --cov --cov-report=
	$(BIN)/python -m coverage report --fail-under=95
	$(BIN)/python -m coverage report --include='fundarb/core/*' --fail-under=100

bench: $(VENV)/.installed-dev ## measure the promises: a table, and build/bench.json
	@$(BIN)/python -m benchmarks

demo: $(VENV)/.installed-runtime ## see it work on built-in data, no network and no keys
	@$(BIN)/fundarb demo

clean: ## remove what make wrote, environment included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis
