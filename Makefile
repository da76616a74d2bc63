# Every target works in a fresh clone: it installs what it needs under var/ first. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?=
export PYTHON
bin := var/venv/bin
compose := tools/compose

.PHONY: help run test test-card test-compose faults faults-switch applet cap check bench bench-quick up down clean reset lock bootstrap-run bootstrap-dev

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: bootstrap-run ## start the platform on this machine: SQLite, a modem client on a virtual SIM; Ctrl-C ends it
	@exec $(bin)/python tools/run.py

test: bootstrap-dev ## install what the tests need, check, then unit, contract, end-to-end and fault tests
	@exec $(bin)/python tools/test.py

test-compose: bootstrap-dev ## bring the compose stack up fresh, run the end-to-end tests on it, down and up again without loss
	@exec $(bin)/python tools/test_compose.py

faults: bootstrap-dev ## the platform under load, killed, stopped, filled, cut off by a seeded plan; totals (SEED=n PAIR=embedded|kafka)
	@exec $(bin)/python tests/faults/platform_faults.py $(if $(SEED),--seed $(SEED)) $(if $(PAIR),--pair $(PAIR)) $(if $(SHORT),--short)

faults-switch: bootstrap-dev ## carrier switches with faults injected, seeded; one line of totals (SEED=n: that run, in full)
	@exec $(bin)/python tests/faults/switch_faults.py $(if $(SEED),--seed $(SEED)) $(if $(FULL),--all)

test-card: bootstrap-dev ## the card contract: virtual-sim in process and behind a real pcscd, the Java Card applet
	@exec $(bin)/python tools/test.py card

applet: bootstrap-dev ## build the Java Card applet and test it on jCardSim and on a card of our own
	@exec $(bin)/python tools/applet.py test

cap: bootstrap-dev ## the applet's CAP file for a real card; needs Oracle's Java Card SDK: JC_HOME=... ANT_JAVACARD=...
	@exec $(bin)/python tools/applet.py cap

check: bootstrap-dev ## lint, formatting, types, import directions
	@$(bin)/ruff check -q .
	@$(bin)/ruff format --check . >var/format.log || { cat var/format.log; echo 'check: run $(bin)/ruff format'; exit 1; }
	@$(bin)/mypy --no-error-summary $(patsubst %,%/src,protocol backbone ingest udp-server flask-app modem-client virtual-sim cli)
	@$(bin)/lint-imports --no-logo >var/lint-imports.log || { cat var/lint-imports.log; exit 1; }
	@echo "check: clean"

bench: bootstrap-dev ## every figure, one JSON object a line; table and plots in bench/ (a quarter of an hour and more)
	@PYTHONPATH=tests/support exec $(bin)/python -m bench --report bench

bench-quick: bootstrap-dev ## the main figures in under 50 s
	@PYTHONPATH=tests/support exec $(bin)/python -m bench --quick

up: ## build and start the compose stack: Kafka, PostgreSQL, Grafana, the services, a modem client
	@exec tools/up

down: ## stop the compose stack; its volumes stay
	@$(compose) down

clean: ## remove caches and build leftovers; never data
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache var/cache var/lint-imports.log var/format.log
	@find . -path ./var -prune -o -name __pycache__ -type d -exec rm -rf {} +

reset: bootstrap-run ## delete the data and secrets of the local run, after asking (YES=1: without)
	@exec $(bin)/python tools/reset.py

lock: ## write the lock files anew from the pyproject files
	@exec tools/lock

bootstrap-run:
	@exec tools/bootstrap run

bootstrap-dev:
	@exec tools/bootstrap dev
