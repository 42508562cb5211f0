# `make demo` and `make test` are all that a fresh machine needs: both set themselves up.
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: setup test
setup: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml
	@command -v uv >/dev/null || python3 -m pip install --quiet --user uv || python3 -m pip install --quiet uv
	uv venv --quiet --allow-existing --python '>=3.11' $(VENV)
	uv pip sync --quiet --require-hashes --python $(PYTHON) requirements/dev.txt
	uv pip install --quiet --no-deps --python $(PYTHON) -e .
	@touch $@

test: setup
	$(PYTHON) -m pytest -rs
