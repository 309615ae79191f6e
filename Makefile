# `make demo` and `make test` do all the set-up they need, on any machine with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PHOTOS ?=

.PHONY: demo test lint check audit clean

demo: $(VENV)/.demo
	$(BIN)/sightline demo $(if $(PHOTOS),--photos "$(PHOTOS)")

# Three processes with a thread each for the models: much of what is tested waits, for servers, browsers and clocks.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

# Known vulnerabilities of what is installed; skipped where nobody can be asked.
audit: $(VENV)/.dev
	$(BIN)/python .ci/audit

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sightline needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	# It asks for faiss-cpu, whose files would take the place of faiss-gpu's, and works with either; all else that it
	# needs comes with pymilvus.
	$(BIN)/python -m pip install --quiet --no-deps 'milvus-lite==3.2.2'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
