# make demo   set up .venv, then index documents, train the small model and write a report
# make test   set up .venv, then lint, type checks, import contracts and the test suite
#
# On a fresh machine both need only Python >= 3.10 with venv. A rerun installs nothing.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Installed first and pinned: left to the resolver, torch would be the newest GPU build, gigabytes that two CPU
# cores can't use. Any requirement line works, e.g. TORCH="torch==2.13.0 --extra-index-url <index of CPU wheels>".
TORCH  ?= torch==2.13.0

.PHONY: demo test lint check format clean
.DEFAULT_GOAL := test

demo: $(VENV)/.installed
	$(BIN)/vrag demo $(ARGS)

test: check
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

lint: check

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "vrag needs Python >= 3.10; name one with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Editable, so that a change of the source needs no new install; a change of pyproject.toml does.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) $(TORCH)
	$(PIP) --editable '.[models,synthetic]'
	@touch $@

# `--group` came with pip 25.1.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --editable '.[models,synthetic,datasets,ocr,index,encoders,lora,qdrant,serve,mcp,tantivy]' --group dev
	@touch $@
