# Everything runs in .venv, made by `python3 -m venv`; nothing but Python 3.11 or newer is assumed.

PYTHON ?= python3
BIN := .venv/bin
PAGE := src/sensorflow/web/page/index.html
PAGE_SOURCES := $(shell find dashboard -path dashboard/node_modules -prune -o -type f -print)

.PHONY: run test test-long check format bench page lock

run: .venv/installed $(PAGE)  ## set everything up, then serve
	exec $(BIN)/sensorflow serve

test: .venv/installed $(PAGE)  ## set everything up, then every test
	$(BIN)/python hatch_build.py test
	# More processes than most machines have processors to spare: the tests wait more than they work.
	$(BIN)/pytest --numprocesses 4 --no-loadscope-reorder

test-long: .venv/installed $(PAGE)  ## the fault and fuzz tests in full counts
	$(BIN)/pytest -m long --long -s

check: .venv/installed $(PAGE)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python hatch_build.py check

format: .venv/installed  ## put every file into the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed $(PAGE)  ## measure; the table goes to standard output
	$(BIN)/python -m benchmarks

page: $(PAGE)  ## build the page into the package

lock: .venv/installed  ## resolve the dependencies anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --upgrade --quiet --universal --no-annotate --no-header --generate-hashes pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --upgrade --quiet --universal --no-annotate --no-header --generate-hashes --extra dev pyproject.toml -o requirements-dev.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | $(BIN)/uv pip compile --upgrade --quiet --universal --no-annotate --no-header --generate-hashes - -o requirements-build.lock

.venv/installed: requirements-dev.lock requirements-node.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; run make PYTHON=python3.x")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -c 'import hatch_build, sys; sys.exit(not hatch_build.system_npm())' || $(BIN)/pip install --quiet --require-hashes -r requirements-node.lock
	$(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	touch $@

$(PAGE): .venv/installed hatch_build.py $(PAGE_SOURCES)
	$(BIN)/python hatch_build.py build
	touch $@
