# Two commands do everything: `make demo` runs the main job, `make test` the tests.
# Each creates .venv and installs what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
PROJECTS := pyproject.toml spec/pyproject.toml packages/deeph-dock/pyproject.toml packages/deeph-core/pyproject.toml

.PHONY: setup demo test lint format bench docs clean help

help:
	@echo "make demo    convert, train, predict and draw the bands of graphene (about five minutes)"
	@echo "make test    run every test        make lint    ruff, mypy, formatting"
	@echo "make bench   print the benchmarks  make docs    build the documentation into site/"
	@echo "make format  let ruff reformat     make clean   remove .venv and everything generated"

setup: $(STAMP)

$(STAMP): $(PROJECTS)
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, %d.%d was found: make PYTHON=/path/to/python3" % v[:2])'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade "pip>=25.1"
	@$(PIP) --prefer-binary --group dev -e spec -e packages/deeph-dock -e "packages/deeph-core[eval]"
	@$(PIP) --only-binary :all: -e "packages/deeph-dock[pyscf,sisl]" || \
		echo "note: this Python has no ready-made pyscf or sisl yet; tests that use them are skipped"
	@$(PIP) --only-binary :all: -e "packages/deeph-dock[mpi,dask]" mpich || \
		echo "note: this Python has no ready-made mpi4py, mpich or distributed; tests that use them are skipped"
	@touch $@

demo: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/graphene/demo.py

test: $(STAMP)
	@$(BIN)/python -m pytest

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff check --fix-only . ; $(BIN)/ruff format .

# benchmarks/accuracy.py trains for hours: it is run by name.
bench: $(STAMP)
	@for script in $(filter-out benchmarks/accuracy.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "The documentation is in site/index.html"

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis examples/*/work
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
