# `make` prints what there is to do. Everything runs from .venv, which the targets create and keep up to date.

VENV ?= .venv
PY = "$(VENV)/bin/python"
STAMP = $(VENV)/.installed
# Test processes of `make test`: most tests wait for a server or a clock, so more than there are processors pays.
PROCESSES ?= 4
# Options for the tool behind a target: make test ARGS="-k budgets -x"
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

WITHOUT_SERVICES := "not postgres and not kafka and not process and not loopback"
FAST := "not postgres and not kafka and not process and not loopback and not thorough"
# What `make test-fast` does without: importing the vendors' SDKs, collecting whole folders of tests that need services,
# and a watchdog thread for each of three thousand tests.
SPARED = --ignore=tests/adapters/llm/vendors --ignore=tests/acceptance -o faulthandler_timeout=0

.PHONY: help venv run test test-fast coverage check lint types imports contracts contracts-check wheel format lock bench faults clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

##@ Use

run: venv ## Run an example project to its end: live view, costs, replay
	@echo "make run: an example on an embedded PostgreSQL; nothing outside its data directory is touched"
	@$(PY) -m toybox.demo $(ARGS)

venv: $(STAMP) ## Create .venv from the lock, with the newest Python that runs toybox

##@ Test

test: venv ## Run all tests; real services are started for them
	@echo "make test: all tests, in random order, with real services started for them"
	@echo "(a real Kafka, too: Java 17 and Maven are needed, or a broker that you name: TOYBOX_TEST_KAFKA=host:port)"
	@$(PY) -m pytest -n $(PROCESSES) --dist loadfile $(ARGS)

test-fast: venv ## Run the tests that need no service (under 20 s)
	@echo "make test-fast: tests without services"
	@$(PY) -m pytest -q -n 2 --hypothesis-profile=fast $(SPARED) -m $(FAST) $(ARGS)

coverage: venv ## Say which branches the fast tests miss; domain and commands must miss none
	@$(PY) -m pytest -q -m $(WITHOUT_SERVICES) --cov --cov-report= $(ARGS)
	@$(PY) -m coverage report
	@$(PY) -m coverage report --include="domain/*,commands/*" --fail-under=100

check: lint types imports contracts-check wheel test ## Everything that CI checks

lint: venv ## Check style and formatting
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: venv ## Check types: strict in domain, commands, projections, api and toybox
	@$(PY) -m pyright --pythonpath $(PY) $(ARGS)

imports: venv ## Check who imports whom
	@"$(VENV)/bin/lint-imports" --no-cache

contracts-check: venv ## Check that the generated contracts and the map are fresh
	@$(PY) -m toybox.contracts --check

wheel: venv ## Build the wheel, install it into a clean environment, run it there
	@echo "make wheel: build, install with the locked versions, run toybox --help"
	@rm -rf dist
	@$(PY) -m build --wheel --no-isolation >/dev/null
	@set -e; clean=$$(mktemp -d); trap 'rm -rf "$$clean"' EXIT; \
	sed -n 's/^\([a-zA-Z0-9._-]*==[^\\]*\)\\$$/\1/p' requirements.lock >"$$clean/versions.txt"; \
	$(PY) -m venv "$$clean/venv"; \
	"$$clean/venv/bin/python" -m pip install --quiet --no-input --no-compile -c "$$clean/versions.txt" dist/*.whl; \
	cd "$$clean"; "$$clean/venv/bin/toybox" --help

##@ Develop

format: venv ## Format the code and fix what can be fixed
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

contracts: venv ## Regenerate event contracts, OpenAPI document and map
	@$(PY) -m toybox.contracts

lock: venv ## Write requirements.lock anew from pyproject.toml
	@$(PY) -m uv pip compile pyproject.toml --group test --group lint --group build --quiet \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --output-file requirements.lock $(ARGS)

bench: venv ## Measure (all, or NAME=append)
	@set -e; for file in bench/$(or $(NAME),[a-z]*).py; do \
	  name=$$(basename "$$file" .py); echo "== bench $$name"; $(PY) -m "bench.$$name" $(ARGS); done

faults: venv ## Break things on purpose (all, or NAME=kill_writers)
	@set -e; for file in faults/$(or $(NAME),[a-z]*).py; do \
	  name=$$(basename "$$file" .py); echo "== faults $$name"; $(PY) -m "faults.$$name" $(ARGS); done

clean: ## Remove caches and build results (.venv and data directories stay)
	@rm -rf dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	@find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment: installed again only when the lock or the project's metadata changed ---

$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	if ! $(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  found=; \
	  for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	      found=$$python; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "toybox needs Python 3.11 or newer with the venv module, and found none on the PATH." >&2; \
	    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python)," >&2; \
	    echo "or name one that you have: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  echo "creating $(VENV) with $$("$$found" --version)"; \
	  rm -rf "$(VENV)"; "$$found" -m venv "$(VENV)"; \
	fi; \
	echo "installing $$(grep -c == requirements.lock) locked packages into $(VENV) (about a minute the first time)"; \
	$(PY) -m pip install --quiet --no-input --no-compile --require-hashes -r requirements.lock; \
	$(PY) -m pip install --quiet --no-input --no-build-isolation --no-deps -e .; \
	touch "$@"
