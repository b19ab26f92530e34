# The commands for developers. Each command first makes the environment, if it is missing or out of date.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Each recipe runs as one script, so that it can use variables.
.ONESHELL:

UV_VERSION := 0.13.8
PYTHON := .venv/bin/python
# Without --python, uv would change the environment that the developer has activated.
UV_PIP := $(PYTHON) -m uv pip
READY := .venv/.ready
# These are Node and npm of the environment, not of the machine.
NPM := env "PATH=$(CURDIR)/.venv/bin:$$PATH" npm --prefix web --loglevel=error
NPM_RUN := $(NPM) run --silent
NODE_MODULES := web/node_modules/.ready
WEB := web/dist/.built
# The list includes folders: after a file is deleted, only its folder is newer than the build.
WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -not -path web -print)

.PHONY: help up dev reset check test format rules contracts web wheel screenshots lighthouse simulate-schedules planted-bugs \
    bench lock clean

help: ## show this list
	@sed -nE 's/^([a-z-]+):.* ## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r target does; do
	    printf '  make %-20s %s\n' "$$target" "$$does"
	done

# The environment ---------------------------------------------------------------------------------------------

$(READY): pyproject.toml requirements.lock Makefile
	@python=""
	for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	        python=$$candidate
	        break
	    fi
	done
	if [ -z "$$python" ]; then
	    echo "error: Curhat needs Python 3.11 or newer; there is none under the names python3, python3.11 … python3.14." >&2
	    echo "       Install one (Debian 12 or newer: apt install python3 python3-venv), then run make again." >&2
	    exit 1
	fi
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
	    version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	    echo "error: $$python has no venv or no ensurepip; Debian and Ubuntu ship them apart." >&2
	    echo "       Install them (apt install python$$version-venv), then run make again." >&2
	    exit 1
	fi
	# An environment that was moved or copied, or whose Python was removed, does not work. Make a new one.
	if ! .venv/bin/pip --version >/dev/null 2>&1 ||
	    ! [ "$$($(PYTHON) -c 'import sys; print(sys.prefix)')" -ef .venv ]; then
	    echo "environment: making .venv with $$("$$python" --version)"
	    rm -rf .venv
	    "$$python" -m venv .venv
	fi
	if [ "$$($(PYTHON) -m uv --version 2>/dev/null | cut -d' ' -f2)" != "$(UV_VERSION)" ]; then
	    echo "environment: installing uv $(UV_VERSION), which installs the rest"
	    $(PYTHON) -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	fi
	echo "environment: installing what requirements.lock names"
	# Compile once, here. With PYTHONDONTWRITEBYTECODE, each process would compile again at its start, for one second.
	$(UV_PIP) sync --quiet --python $(PYTHON) --compile-bytecode --require-hashes requirements.lock
	echo "environment: installing curhat itself, editable"
	$(UV_PIP) install --quiet --python $(PYTHON) --no-build-isolation --no-deps --editable .
	$(PYTHON) -m compileall -q src/curhat
	if ! problems=$$($(UV_PIP) check --python $(PYTHON) 2>&1); then
	    echo "$$problems" >&2
	    echo "error: requirements.lock does not fit pyproject.toml; run make lock." >&2
	    exit 1
	fi
	touch $@

# Litestar requires these packages, but a server never imports them (docs/decisions/0064).
NOT_IN_PRODUCTION := faker polyfactory rich rich-click
LOCK := compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --no-emit-index-url --no-emit-find-links pyproject.toml

lock: ## write both lock files for pyproject.toml
	@if ! [ -x .venv/bin/uv ]; then
	    python3 -m venv .venv
	    .venv/bin/pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	fi
	$(UV_PIP) $(LOCK) --all-extras --group test --group bench --output-file requirements.lock
	# Production's packages have the same versions as in requirements.lock.
	$(UV_PIP) $(LOCK) --constraints requirements.lock --excludes <(printf '%s\n' $(NOT_IN_PRODUCTION)) \
	    --output-file requirements-production.lock
	echo "requirements.lock and requirements-production.lock are written"

clean: ## remove the environment and every cache; the data of make up stays
	@rm -rf .venv web/node_modules web/dist .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	echo "removed; .data stays (make reset removes it)"

# The web clients ---------------------------------------------------------------------------------------------

$(NODE_MODULES): web/package.json web/package-lock.json web/.npmrc | $(READY)
	@echo "web: installing what package-lock.json names"
	$(NPM) ci
	touch $@

$(WEB): $(WEB_SOURCES) $(NODE_MODULES)
	@$(NPM_RUN) build
	touch $@

web: $(WEB) ## build the web clients into web/dist/

wheel: $(READY) $(WEB) ## build the wheel into dist/, install it outside the checkout, and load the web clients from it
	@rm -rf dist
	.venv/bin/hatchling build --target wheel --directory dist
	$(PYTHON) -m tests.wheel dist/*.whl

# Running -----------------------------------------------------------------------------------------------------

up: $(READY) $(WEB) ## start everything for development: databases, server, worker, demo data
	@$(PYTHON) -m compileall -q src/curhat
	exec env CURHAT_ENVIRONMENT=development .venv/bin/curhat up

dev: $(READY) $(WEB) ## start the same as make up; reload changed Python, and serve the web clients through Vite
	@exec env CURHAT_ENVIRONMENT=development .venv/bin/curhat up --reload

reset: $(READY) ## remove the development data; refused while make up runs
	@exec .venv/bin/curhat reset

# Checks ------------------------------------------------------------------------------------------------------

# squawk skips three rules. The runner (kit/migrations.py) sets both timeouts. An integer column holds a count,
# seconds, or the rupiah of one payment, and each column has its own bounds.
SQUAWK := .venv/bin/squawk --pg-version=18.0 \
    --exclude=require-lock-timeout,require-statement-timeout,prefer-bigint-over-int
# The runner wraps each file that is not in this list in one transaction.
WITHOUT_TRANSACTION := $(shell grep -l '^-- migrate: no transaction$$' migrations/*.sql)
IN_TRANSACTION := $(filter-out $(WITHOUT_TRANSACTION),$(wildcard migrations/*.sql))

# The checks that run no test, the slowest first. `make check` and `make test` run two of them at a time.
CHECKS := web web-unit types statements schema contracts web-contracts lint format layers migrations
check-web: CHECK = $(NPM_RUN) check
check-web-unit: CHECK = $(NPM_RUN) unit
check-types: CHECK = .venv/bin/mypy
check-contracts: CHECK = $(PYTHON) -m curhat.app.contracts --check
check-statements: CHECK = $(PYTHON) -m curhat.dev.statements --check
check-schema: CHECK = $(PYTHON) -m curhat.dev.schema --check
check-web-contracts: CHECK = $(NPM_RUN) contracts -- --check
check-lint: CHECK = .venv/bin/ruff check .
check-format: CHECK = .venv/bin/ruff format --check .
check-layers: CHECK = .venv/bin/lint-imports
check-migrations: CHECK = $(SQUAWK) --assume-in-transaction $(IN_TRANSACTION) \
    $(if $(WITHOUT_TRANSACTION),&& $(SQUAWK) $(WITHOUT_TRANSACTION))
check-unit-tests: CHECK = .venv/bin/pytest --quiet tests/unit
check-tests: CHECK = .venv/bin/pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder

CHECK_TARGETS := $(CHECKS:%=check-%)
RUN_CHECKS := $(MAKE) --no-print-directory --jobs=2 --output-sync=target
.PHONY: $(CHECK_TARGETS) check-unit-tests check-tests
$(CHECK_TARGETS) check-unit-tests check-tests:
	@printf '\n== %s\n' "$(@:check-%=%)"
	if ! { $(CHECK); }; then
	    printf '\nmake: the check "%s" FAILED; to run it alone: make %s\n' "$(@:check-%=%)" "$@" >&2
	    exit 1
	fi

.PHONY: check-previous-release
check-previous-release: $(READY) ## run the previous release's code on this schema: journeys of simulated people, then the invariants
	@$(PYTHON) -m tests.previous_release

.PHONY: check-prometheus
check-prometheus: ## check the alerts and run their unit tests; needs promtool (Debian: package prometheus)
	@command -v promtool >/dev/null || { echo "error: promtool is missing; apt install prometheus" >&2; exit 1; }
	cd deploy/prometheus
	promtool check config prometheus.yml
	promtool test rules curhat.rules.test.yml

.PHONY: check-deploy
check-deploy: $(READY) ## check deploy/ with the tools that read it, as far as they are installed (tests/integration/test_deploy_tools.py)
	@.venv/bin/pytest --quiet -rs tests/unit/test_deploy_files.py tests/integration/test_deploy_tools.py

.PHONY: production-checks
production-checks: $(READY) $(WEB) ## run a whole production on this machine and let it fail; T=tests/production/test_kills.py
	@exec .venv/bin/pytest $(or $(T),tests/production)

.PHONY: rehearsal
rehearsal: $(READY) $(WEB) ## install production on this machine, make a whole journey, deploy, and stop cleanly: a minute
	@exec $(PYTHON) -m tests.production.rehearsal

# What most machines cannot run. Each target says what is missing, and writes into docs/last-runs.md when it last passed.
.PHONY: check-backups
check-backups: $(READY) ## back up, archive, restore and drill; needs pgBackRest 2.56 or newer (PGDG)
	@RECORD_LAST_RUN=1 .venv/bin/pytest --quiet tests/deploy/test_backups.py

.PHONY: check-pgbouncer
check-pgbouncer: $(READY) ## run journeys through PgBouncer; needs 1.21 or newer (Debian 13, PGDG)
	@RECORD_LAST_RUN=1 .venv/bin/pytest --quiet tests/deploy/test_pgbouncer.py

.PHONY: check-patroni
check-patroni: $(READY) ## lose the primary of three PostgreSQL; needs Patroni 4 (PGDG), etcd and HAProxy
	@RECORD_LAST_RUN=1 .venv/bin/pytest --quiet tests/deploy/patroni.py

check: $(READY) $(NODE_MODULES) ## run what is fast: every check and the unit tests
	@$(RUN_CHECKS) check-unit-tests $(CHECK_TARGETS)

test: $(READY) $(WEB) ## run every check and every test; some tests alone: make test T=tests/races
ifdef T
	@exec .venv/bin/pytest $(T)
else
	@$(RUN_CHECKS) $(CHECK_TARGETS)
	$(MAKE) --no-print-directory check-tests
endif

format: $(READY) $(NODE_MODULES) ## format the code, and fix what the linters can fix
	@.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .
	$(NPM_RUN) format

rules: $(READY) ## print each rule of docs/rules.md with its tests and their last outcome
	@$(PYTHON) -m tests.rules_report --check

contracts: $(READY) $(NODE_MODULES) ## generate every queries.py, contracts/, and the web clients' types
	@$(PYTHON) -m curhat.dev.statements
	$(PYTHON) -m curhat.app.contracts
	$(PYTHON) -m curhat.dev.schema
	$(NPM_RUN) contracts

simulate-schedules: $(READY) ## run N seeded schedules under the virtual clock: make simulate-schedules N=10000
	@$(PYTHON) -m tests.simulation --schedules $(or $(N),500)

planted-bugs: $(READY) ## plant each deliberate fault, and show that a test catches it; some: make planted-bugs BUG=fallback
	@$(PYTHON) -m tests.simulation.planted_bugs $(if $(BUG),"$(BUG)")

screenshots: $(READY) $(WEB) ## take pictures of every screen, in both languages and themes, into results/screenshots/
	@SCREENSHOTS=results/screenshots .venv/bin/pytest -q tests/browser/test_*screens.py

LIGHTHOUSE := tests/browser/lighthouse
$(LIGHTHOUSE)/node_modules/.ready: $(LIGHTHOUSE)/package.json $(LIGHTHOUSE)/package-lock.json | $(READY)
	@echo "lighthouse: installing what its package-lock.json names"
	env "PATH=$(CURDIR)/.venv/bin:$$PATH" npm --prefix $(LIGHTHOUSE) --loglevel=error ci
	touch $@

lighthouse: $(READY) $(WEB) $(LIGHTHOUSE)/node_modules/.ready ## measure the first screens of both apps with Lighthouse
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pytest -q --capture=no $(LIGHTHOUSE)/figures.py

bench: $(READY) ## measure every speed claim and what it is compared with; writes bench/RESULTS.md
	@$(PYTHON) -m bench
