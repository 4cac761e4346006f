# make install   set up .venv for one's own documents: `vrag index`, `ask`, `app`, with OCR; no torch
# make demo   set up .venv, then index documents, train the small model and write a report
# make test   set up .venv, then lint, type checks, import contracts and the test suite
# make docs   set up .venv-docs (310 MB, no torch), then build the documentation as a site → site/index.html
# make test-ray   the tests of indexing over many machines, on a local Ray (another 80 MB to download, 245 MB of disk)
# make test-verl   set up .venv-verl with verl, then the tests that need it, without a GPU
#
# On a fresh machine they need only Python >= 3.10 with venv. A rerun installs nothing.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Installed first and pinned: left to the resolver, torch would be the newest GPU build, gigabytes that two CPU
# cores can't use. Any requirement line works, e.g. TORCH="torch==2.13.0 --extra-index-url <index of CPU wheels>".
TORCH  ?= torch==2.13.0

# verl has an environment of its own, for it pins transformers; this version is that of verl[vllm].
VERL_VENV ?= .venv-verl
VERL_TRANSFORMERS ?= transformers==5.9.0

# The reference is read from the source, so the site needs nothing that vrag imports but its small core.
DOCS_VENV ?= .venv-docs

.PHONY: install demo test test-ray test-verl lint check format docs clean
.DEFAULT_GOAL := test

install: $(VENV)/.installed-own
	@echo "Now: . $(BIN)/activate, and: vrag index FOLDER --corpus NAME"

demo: $(VENV)/.installed
	$(BIN)/vrag demo $(ARGS)

test: export OMP_WAIT_POLICY = passive
test: check
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-ray: $(VENV)/.installed-ray
	$(BIN)/python -m pytest --full tests/integration/test_cluster.py $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

lint: check

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/python -m mkdocs build --strict $(ARGS)

# verl brings pytest-asyncio, whose warnings would be errors here.
test-verl: $(VERL_VENV)/.installed
	$(VERL_VENV)/bin/python -m pytest -p no:asyncio tests/verl $(ARGS)

clean:
	rm -rf $(VENV) $(VERL_VENV) $(DOCS_VENV) build dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "vrag needs Python >= 3.10; name one with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Each stamp stands for what it installed itself, so that they may be made in any order.
$(VENV)/.installed-own: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[serve,ocr]'
	@touch $@

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

$(DOCS_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VERL_VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
	  || { echo "verl needs Python 3.10 to 3.12; name one with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VERL_VENV)
	$(VERL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(VERL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[verl,synthetic]' $(VERL_TRANSFORMERS) hypothesis pytest
	@touch $@

$(VENV)/.installed-ray: $(VENV)/.installed-dev
	$(PIP) --editable '.[ray]'
	@touch $@
