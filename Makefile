# Two commands for people: make demo, make test. Everything they need is set up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
.PHONY: help demo test quick witness lint bench bench-smoke constraints clean

help:            ## what can be made here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing agewalk and its libraries (some 800 MB) into $(VENV), once: about half a minute, with the network'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)   ## the main job on a real VM's trace that ships with the package
	$(BIN)/agewalk demo

test: $(STAMP)   ## every test
	$(BIN)/python -m pytest -n auto --dist worksteal

quick: $(STAMP)  ## the fast tests and lint: under 3 minutes on two cores
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"
	$(MAKE) --no-print-directory lint

witness: $(STAMP) ## all 363 recordings of real kernels and 96 whole workloads (make test takes a sample)
	$(BIN)/agewalk witness verify tests/witness
	$(BIN)/agewalk workload verify tests/workload/sqlite.jsonl

lint: $(STAMP)   ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check src tests bench tools
	$(BIN)/ruff format --check src tests bench tools
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## the published benchmarks, as a table and as JSON
	$(BIN)/python -m bench

bench-smoke: $(STAMP) ## the same scripts on inputs of seconds
	$(BIN)/python -m bench --smoke

constraints: $(STAMP) ## pin what is installed now
	$(BIN)/python -m pip freeze --exclude-editable | sed '1i # Versions that make and CI install; refresh: make constraints' > constraints.txt

clean:           ## remove what make made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis src/*.egg-info
