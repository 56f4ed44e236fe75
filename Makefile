# Two commands do all the set-up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --quiet --disable-pip-version-check
# Numerical libraries must not start more threads than a test or run asks for.
export OMP_NUM_THREADS ?= 1
WORKERS ?= 2

.PHONY: help run test test-slow check format clean

help:
	@echo "make run        install, then run configs/digits.yaml into runs/digits/ (about a minute)"
	@echo "make test       install what tests need, run the fast tests"
	@echo "make test-slow  run the slow tests"
	@echo "make check      lint, format check, strict types"
	@echo "make format     format the code"
	@echo "make clean      remove the environment, caches and builds (run folders are kept)"

run: $(VENV)/.installed
	$(BIN)/bitwright run configs/digits.yaml

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

check: $(VENV)/.installed-dev
	$(BIN)/ruff check bitwright tests benchmarks
	$(BIN)/ruff format --check bitwright tests benchmarks
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix bitwright tests benchmarks
	$(BIN)/ruff format bitwright tests benchmarks

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit('bitwright needs Python 3.11 or newer, this is ' + sys.version.split()[0] if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
