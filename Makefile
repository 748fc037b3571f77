# Every target sets MetaViz up first. PYTHON chooses the interpreter that makes .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ok
HEADLESS := QT_QPA_PLATFORM=offscreen OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup run test check docs benchmark clean

help:
	@echo "make run        start MetaViz (without a display: run the demo into metaviz-demo/)"
	@echo "make test       run the tests (choose some: make test ARGS='-k layout')"
	@echo "make check      run ruff and mypy"
	@echo "make docs       build the documentation into docs/_build, without a network"
	@echo "make benchmark  measure how fast training and drawing are"
	@echo "make setup      only set up .venv (METAVIZ_TORCH=auto|cpu|default, PYTHON=python3.12)"
	@echo "make clean      remove .venv, caches and build results"

setup:
	@$(PYTHON) packaging/bootstrap.py

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) packaging/bootstrap.py

run: $(STAMP)
	@$(BIN)/metaviz --demo-without-display $(ARGS)

# On as many cores as there are, up to four; a test that waits without end says where after a while.
test: $(STAMP)
	$(HEADLESS) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Every warning is an error.
docs: $(STAMP)
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo "docs/_build/index.html"

benchmark: $(STAMP)
	@if [ -e tests/benchmarks/__main__.py ]; then \
	  $(HEADLESS) $(BIN)/python -m tests.benchmarks $(ARGS); \
	else \
	  echo "There are no benchmarks yet: tests/benchmarks/__main__.py is missing."; \
	fi

clean:
	rm -rf .venv build dist docs/_build docs/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find metaviz tests packaging -name __pycache__ -type d -prune -exec rm -rf {} +
