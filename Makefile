# make run | test | check | bench | torture | audit | lock: each makes its own .venv first; a
# second call starts at once: a stamp remembers the lock file it was installed from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.PHONY: run test coverage lint guard check bench bench-full torture audit lock clean
.DELETE_ON_ERROR:
# Where it is set, each of the 200 daemons that the tests start compiles us anew: 0.15 s.
unexport PYTHONDONTWRITEBYTECODE

run: $(VENV)/.run-ready
	exec $(BIN)/agent-registryd

test: $(VENV)/.test-ready
	$(BIN)/python -m pytest -n 3 --dist worksteal $(PYTEST)

# The same with branch coverage, which doubles what the tests compute.
coverage: $(VENV)/.test-ready
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term $(PYTEST)

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# Ratios that noise cannot flip, in half a minute.
guard: $(VENV)/.test-ready
	$(BIN)/python -m bench quick

check: lint test guard

# Under ten minutes, on two cores that have nothing else to do.
bench: $(VENV)/.run-ready
	$(BIN)/python -m bench

# The same, and the rows with a million agents.
bench-full: $(VENV)/.run-ready
	$(BIN)/python -m bench full

# What takes too long for every day, the seeded bugs, and one table of what it found.
torture: $(VENV)/.test-ready
	$(BIN)/python tests/torture.py $(PYTEST)

# Looks every locked version up in a public list of vulnerabilities. It asks the
# internet, so it is no part of `check`. --strict: without it, versions of which the list
# was not to be had pass as if they had been found harmless.
audit: $(VENV)/.audit-ready
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	  -r requirements.txt -r requirements-dev.txt || \
	  { echo "Not audited, or found wanting: the line above says which."; exit 1; }

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "agent-registry needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: requirements.txt pyproject.toml client/pyproject.toml | $(VENV)/bin/python
	@echo "Installing agent-registry into $(VENV) ..."
	$(PIP) --no-deps --require-hashes -r requirements.txt
	$(PIP) --no-build-isolation --no-deps --editable . --editable ./client
	@touch $@

$(VENV)/.test-ready: requirements-dev.txt $(VENV)/.run-ready
	@echo "Installing the test tools into $(VENV) ..."
	$(PIP) --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.audit-ready: requirements-audit.txt $(VENV)/.run-ready
	@echo "Installing pip-audit into $(VENV) ..."
	$(PIP) --no-deps --require-hashes -r requirements-audit.txt
	@touch $@

# The locks are complete, so nothing is resolved here (--no-deps): pip 23, which Python
# 3.11 brings, refused its own lock on the day coverage[toml] had a newer release.
# All hold for Python 3.11 to 3.13 and name no index.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock: $(VENV)/.test-ready
	$(PIP) uv
	$(LOCK) pyproject.toml requirements.in -o requirements.txt
	$(LOCK) --extra dev pyproject.toml requirements.in -c requirements.txt -o requirements-dev.txt
	$(LOCK) requirements-audit.in -c requirements-dev.txt -o requirements-audit.txt

clean:
	rm -rf $(VENV) build *.egg-info client/*.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache
