# BiasMIR: from a fresh clone to the built book, and to the passing tests.
#
# GNU make and a POSIX shell. Every target first makes sure of the set-up that it needs, which is
# done once and again only when a file changes that says what is installed.

VENV ?= .venv
# The Python to make .venv from. Empty: the first of python3.11, 3.12, 3.13, python3 that fits.
PYTHON ?=
# What the set-up takes, with downloads; it stops early where there is less.
NEED_GB ?= 4
# Test processes: each may hold TensorFlow, about 1 GB.
TEST_JOBS ?= 2
PYTEST_ARGS ?=

PY = $(VENV)/bin/python
BOOK = $(VENV)/.book
TEST = $(VENV)/.test
LOCK = constraints.txt requirements-nodeps.txt pyproject.toml

# The set-up leaves compiling to the first import of a module, which has to be kept then.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup book test lint lab bench lock picture screenshots clean distclean

help: ## List the targets (the default)
	@echo "BiasMIR: make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: PYTHON (to make .venv from), VENV, TEST_JOBS, PYTEST_ARGS"

setup: $(TEST) ## Create .venv and install the pinned dependencies and the package

book: $(BOOK) ## Run the notebooks that changed, build the book into _build/html
	@$(PY) tools/execute.py
	@$(PY) tools/build.py

# Processes that share the cores do not divide each matrix among threads as well: threads that wait
# for each other took four times the processor time in tests of linear algebra.
test book: export OMP_NUM_THREADS ?= 1

test: $(TEST) lint ## Lint, types, and all tests (they run the notebooks and build the book too)
	@# By file, since a file's tests share what is slow to make: the book is built once.
	@$(PY) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(TEST) ## Ruff (lint and format) and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

lab: $(BOOK) ## Open JupyterLab on the notebooks
	@$(PY) -m jupyterlab --notebook-dir=. notebooks

bench: $(TEST) ## Run the benchmarks; tables go to _build/bench, not over benchmarks/results
	@set -- benchmarks/*.py; \
	if [ ! -e "$$1" ]; then echo "benchmarks/ holds no benchmark yet."; exit 0; fi; \
	for script in "$$@"; do echo "$$script"; \
	    $(PY) "$$script" --out "_build/bench/$$(basename "$$script" .py).md" || exit 1; done

lock: $(TEST) ## Bring constraints.txt in line with pyproject.toml (LOCK_ARGS=--upgrade: newest)
	@$(PY) -m uv pip compile $(LOCK_ARGS) --universal --python-version 3.11 --no-annotate --quiet \
	    --custom-compile-command 'make lock' --extra audio --extra tensorflow \
	    --extra tensorflow-cpu --extra distributed --extra book --extra test --extra dev \
	    pyproject.toml --output-file constraints.txt

picture: $(BOOK) ## Measure the main result again and draw its picture, book/images/gap.svg
	@$(VENV)/bin/biasmir evaluate data/demo --embedding yamnet musicnn msd_vgg mfcc \
	    --correction none lda leace center --out _build/picture/results.csv
	@$(PY) tools/picture.py _build/picture/results.csv

screenshots: $(TEST) ## Photograph every page of the built book at 1,280 and 390 px (needs Chromium)
	@$(PY) tools/screenshots.py

clean: ## Remove what was built (not .venv)
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find biasmir_utils tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf $(VENV) *.egg-info

# The set-up, in two steps, each with a stamp in .venv; what an interrupted one installed is kept.

$(BOOK): $(LOCK)
	@NEED_GB='$(NEED_GB)' sh .ci/setup.sh venv $(VENV) $(PYTHON)
	@echo "Set-up: what the book needs (1 to 5 minutes)"
	@sh .ci/setup.sh install $(VENV) -c constraints.txt -e '.[audio,tensorflow-cpu,book]'
	@sh .ci/setup.sh install $(VENV) --no-deps -r requirements-nodeps.txt
	@touch $@

$(TEST): $(BOOK)
	@echo "Set-up: what the tests need"
	@sh .ci/setup.sh install $(VENV) -c constraints.txt -e '.[distributed,test,dev]'
	@touch $@
