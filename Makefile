# `make demo` and `make test` are all that a fresh machine needs: both set themselves up.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# uv from PATH, else one of our own beside the environment, from a locked file.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)

.PHONY: help setup demo test sim chaos soak fuzz check fmt bench stack docs lock

help:  ## What can be asked for
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: $(STAMP)  ## Install everything into .venv

.uv/bin/uv: requirements/uv.txt
	@echo "Installing uv into .uv ..."
	@python3 -m venv .uv || { echo "Python's venv module is missing: install python3-venv, or uv"; exit 1; }
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# All is compiled here, once: every process would do it again where Python may write nothing beside its sources.
$(STAMP): Makefile requirements/dev.txt pyproject.toml $(filter .uv/bin/uv,$(UV))
	@echo "Installing EHPS and its locked packages into $(VENV) ..."
	@$(UV) venv --quiet --allow-existing --python '>=3.11' $(VENV)
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements/dev.txt
	@$(UV) pip install --quiet --no-deps --python $(BIN)/python -e .
	@$(BIN)/python -m compileall -q schemas ehps streams deploy
	@touch $@

demo: setup  ## Stream a simulated authority through every process, then prove the result
	@$(BIN)/ehps demo $(ARGS)

test: setup  ## Everything that this machine can run; names what it lacks
	@$(BIN)/python -m pytest $(ARGS)

sim: setup  ## Seeded fault simulation: SEEDS=5000 runs, FIRST=0 the first; SEED=123 repeats one
	@$(BIN)/python -m pytest tests/sim/test_simulation.py -q -k whatever_fails $(if $(SEED),--seed $(SEED),\
		-n auto --seeds $(or $(SEEDS),5000) --first $(or $(FIRST),0)) $(ARGS)

chaos: setup  ## Faults on a real Kafka and Redis: ROUNDS=200, SEED=1, CLUSTER=1; ends with one JSON object
	@$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),20) --seed $(or $(SEED),1) $(if $(CLUSTER),--cluster) $(ARGS)

soak: setup  ## Years of an authority at half capacity, with faults: MINUTES=30, SEED=1; is all flat?
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),30) --seed $(or $(SEED),1) $(ARGS)

fuzz: setup  ## Mutated messages to every topic that EHPS reads: N=100000, SEED=1
	@EHPS_FUZZ_N=$(or $(N),100000) EHPS_FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest tests/integration/test_fuzz.py -q -s --timeout 7200

check: setup  ## Lint, format, types and import arrows, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup  ## Format and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv-bench/.installed: requirements/bench.txt $(filter .uv/bin/uv,$(UV))
	@echo "Installing the benchmarks' peers into .venv-bench ..."
	@$(UV) venv --quiet --allow-existing --python '>=3.11,<3.13' .venv-bench
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes --python .venv-bench/bin/python requirements/bench.txt
	@touch $@

bench: setup .venv-bench/.installed  ## Speed against peers and limits, on a real Kafka and Redis
	$(BIN)/python -m benchmarks $(ARGS)
	@$(BIN)/python -m docs.tables

stack: setup  ## A real Kafka (Java and Maven) and Redis until Ctrl-C; other commands find them
	@$(BIN)/python -m deploy.stack $(ARGS)

docs: setup  ## The tables of the documentation that the code knows best
	@$(BIN)/python -m docs.tables

lock: $(UV)  ## Resolve the locked requirement files anew
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url -o requirements/runtime.txt pyproject.toml
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --group dev -o requirements/dev.txt pyproject.toml
	$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --group bench -o requirements/bench.txt
