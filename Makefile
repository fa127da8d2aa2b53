# `make run` and `make test` need Python 3.11 or later with venv, and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test coverage bench bench-compare profile check format audit hooks lock dist docs screenshots references migration messages clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Start the server with sample data on an embedded PostgreSQL
	@exec $(BIN)/idp serve --dev $(ARGS)

test: export TEST_DATABASE_URL := $(DATABASE_URL)
test: $(VENV)/.dev ## Run all tests; ARGS='-k name' for some, DATABASE_URL=… on a PostgreSQL that runs already
	@exec $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=worksteal $(ARGS)

coverage: export COVERAGE_FILE := $(CURDIR)/.coverage
coverage: $(VENV)/.dev ## Run the tests and report the lines that none of them ran; ARGS as for test
	@rm -f .coverage .coverage.*
	@status=0; $(BIN)/coverage run -m pytest -n auto --maxprocesses=4 --dist=worksteal $(ARGS) || status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report $(if $(ARGS),--fail-under=0) && exit $$status

bench: $(VENV)/.dev ## Measure every figure of docs/performance.md; ARGS='--scale 0.1' for a smaller large database
	@exec $(BIN)/python -m bench $(ARGS)

bench-compare: $(VENV)/.dev ## Two revisions side by side; BASE=rev
	@exec $(BIN)/python -m bench.compare $(BASE) $(ARGS)

profile: $(VENV)/.dev ## A flame graph of a worker under load; ARGS=refresh_token for another load
	@exec $(BIN)/python -m bench.profile $(ARGS)

check: $(VENV)/.dev ## Lint, check the format, check the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Format, and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: $(VENV)/.dev ## Compare the locked dependencies with published advisories
	@.ci/audit $(ARGS)

hooks: $(VENV)/.dev ## Install Git hooks: make check, and the length of a commit's subject
	@$(BIN)/pre-commit install

lock: $(VENV)/.dev ## Write the lock files from pyproject.toml; ARGS=--upgrade chooses the newest versions
	$(BIN)/uv pip compile $(LOCK_OPTIONS) $(ARGS) --extra embedded --extra otel --output-file requirements.txt pyproject.toml requirements-build.in
	$(BIN)/uv pip compile $(LOCK_OPTIONS) $(ARGS) --extra embedded --extra otel --group dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml requirements-build.in

LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate

dist: $(VENV)/.run ## Build what a release has: the wheel and the sdist, with the lock, into dist/
	@rm -rf dist
	@$(BIN)/hatchling build
	@cp requirements.txt dist

docs: $(VENV)/.dev ## Build the documentation site into site/
	@exec $(BIN)/python -m docs.site.build $(ARGS)

screenshots: $(VENV)/.dev ## Take the screenshots of the documentation again, with a Chromium that is installed
	@exec $(BIN)/python -m docs.images.take $(ARGS)

references: $(VENV)/.dev ## Compare every page with the screenshot that is kept of it; ARGS=--update keeps those of now
	@exec $(BIN)/python -m tests.support.references $(ARGS)

migration: $(VENV)/.run ## Write an empty migration (docs/migrations.md); NAME=what_changes
	@$(BIN)/python -m idp.infra.db.new_migration "$(NAME)"

messages: $(VENV)/.dev ## Collect the texts for translation into idp/locales
	$(BIN)/pybabel -q extract -F babel.cfg --no-location --sort-output --no-wrap -o .messages.pot .
	@for language in idp/locales/*/; do \
		$(BIN)/pybabel -q update -i .messages.pot -o $${language}messages.po -l $$(basename $$language | tr - _) \
			--init-missing --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --no-wrap --omit-header || exit 1; \
	done
	@rm .messages.pot

clean: ## Remove the environment and caches, not the data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed. Name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

# Hash-locked packages only, and all of them are in the lock file: pip must not look for newer ones by itself, as some of its
# versions do for `package[extra]`. The project itself is installed without fetching anything.
$(VENV)/.run: $(VENV)/.made requirements.txt pyproject.toml
	@echo "Installing…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@
