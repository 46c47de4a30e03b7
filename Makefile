# Everything sets itself up: the first target that runs makes .venv, later ones reuse it.
# A changed pyproject.toml is installed again.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint bench-quick clean help

help:
	@echo "make demo         start a chain of services with sidecars, show where requests go (KEEP=1: leave it running)"
	@echo "make test         every test that this machine can run"
	@echo "make lint         ruff, mypy, import contract"
	@echo "make bench-quick  CPU per request and added latency beside Envoy, 1-2 minutes"

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(VENV)/.installed-demo: $(VENV)/.installed demo/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r demo/requirements.txt
	touch $@

demo: $(VENV)/.installed-demo
	$(BIN)/python -m demo $(if $(KEEP),--keep)

test: $(VENV)/.installed-demo
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-demo
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-quick: $(VENV)/.installed
	$(BIN)/python -m benchmarks quick

clean:
	rm -rf $(VENV) build dist *.egg-info
