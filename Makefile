# BiasMIR: from a fresh clone to the built book, and to the passing tests.
#
# GNU make and a POSIX shell. Every target first makes sure of the set-up, which is done once
# (its stamps lie in .venv) and again only when constraints.txt or pyproject.toml change.

VENV ?= .venv
# The Python to make .venv from. Empty: the first of python3.11, 3.12, 3.13, 3.10, python3 that fits.
PYTHON ?=
# What the set-up takes, measured on Linux; the set-up stops early where there is less.
NEED_GB ?= 5
# Test processes: each may hold TensorFlow, about 1 GB.
TEST_JOBS ?= 2
PYTEST_ARGS ?=

PY = $(VENV)/bin/python
SETUP = $(VENV)/.setup-done
STEP = NEED_GB='$(NEED_GB)' sh .ci/setup.sh

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup book test lint lab bench picture screenshots clean distclean

help: ## List the targets (the default)
	@echo "BiasMIR: make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: PYTHON (to make .venv from), VENV, TEST_JOBS, PYTEST_ARGS"

setup: $(SETUP) ## Create .venv and install the pinned dependencies and the package

book: $(SETUP) ## Run every notebook, build the book into _build/html, check its pages
	@$(PY) -m biasmir_utils.book make

test: $(SETUP) lint ## Lint, types, and all tests (they run the notebooks and build the book too)
	@# By file, since a file's tests share what is slow to make: the book is built once.
	@$(PY) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(SETUP) ## Ruff (lint and format) and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

lab: $(SETUP) ## Open JupyterLab on the notebooks
	@$(PY) -m jupyterlab --notebook-dir=. notebooks

bench: $(SETUP) ## Run the benchmarks; tables go to _build/bench, not over benchmarks/results
	@set -- benchmarks/*.py; \
	if [ ! -e "$$1" ]; then echo "benchmarks/ holds no benchmark yet."; exit 0; fi; \
	for script in "$$@"; do echo "$$script"; \
	    $(PY) "$$script" --out "_build/bench/$$(basename "$$script" .py).md" || exit 1; done

picture: $(SETUP) ## Measure the main result again and draw its picture, book/images/gap.svg
	@$(VENV)/bin/biasmir evaluate data/demo --embedding yamnet musicnn msd_vgg mfcc \
	    --out _build/picture/results.csv
	@$(PY) -m biasmir_utils.book picture _build/picture/results.csv

screenshots: $(SETUP) ## Photograph every page of the built book at 1,280 and 390 px (needs Chromium)
	@$(PY) -m biasmir_utils.book screenshots

clean: ## Remove what was built (not .venv)
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find biasmir_utils tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf $(VENV) *.egg-info

# The set-up, step by step. Each step leaves a stamp, so that an interrupted set-up goes on where
# it stopped; .ci/setup.sh turns what can go wrong into one line that says what to do.

$(VENV)/.created:
	@$(STEP) venv $(VENV) $(PYTHON)
	@touch $@

$(VENV)/.requirements: $(VENV)/.created constraints.txt pyproject.toml
	@$(STEP) pip $(VENV) "the pinned dependencies and the package (some minutes)" \
	    -c constraints.txt -e '.[audio,tensorflow,distributed,book,test,dev]'
	@touch $@

# musicnn pins numpy and TensorFlow versions of 2019; only its weights are used.
$(VENV)/.musicnn: $(VENV)/.requirements
	@$(STEP) pip $(VENV) "musicnn, without its own requirements" \
	    --no-deps -c constraints.txt musicnn==0.1.0
	@touch $@

# tinysoundfont asks for pyaudio, which has to be compiled; only its renderer is used.
$(VENV)/.tinysoundfont: $(VENV)/.musicnn
	@$(STEP) pip $(VENV) "tinysoundfont, without its own requirements" \
	    --no-deps -c constraints.txt tinysoundfont==0.3.7
	@touch $@

$(SETUP): $(VENV)/.tinysoundfont
	@echo "Set-up done."
	@touch $@
