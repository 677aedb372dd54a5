# Two commands: `make demo` sets up and runs the main job, `make test` passes the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
AUDIT  := .audit

.PHONY: demo test soak check audit clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   install, import a year of purchases, train, promote, serve on 127.0.0.1:3000 (Ctrl-C stops)"
	@echo "make test   install, run the tests"
	@echo "make soak   the tests that take longer"
	@echo "make check  format, lint, types, import contracts, static analysis"
	@echo "make audit  known vulnerabilities of the pinned packages (asks the index)"

# Hashes for everything from the index, then the project itself without looking at its dependencies again.
$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Kokyaku needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/kokyaku demo $(DEMO)

# Kernels are compiled first, once: services that tests start would wait for it, each for itself.
test: $(VENV)/.ready
	$(BIN)/python -m serving compile
	$(BIN)/pytest -n 2 --dist loadfile $(TESTS)

soak: $(VENV)/.ready
	$(BIN)/python -m serving compile
	$(BIN)/pytest -m soak $(TESTS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.bandit_review

# In a small environment of its own: what looks at the pinned set is no part of it. What could not be looked up fails.
$(AUDIT)/.ready:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'
	@touch $@

audit: $(AUDIT)/.ready
	$(AUDIT)/bin/pip-audit --requirement requirements.txt --require-hashes --disable-pip --strict --progress-spinner off

clean:
	rm -rf $(VENV) $(AUDIT) .mypy_cache .ruff_cache .pytest_cache .hypothesis
