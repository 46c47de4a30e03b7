# Everything sets itself up: the first target that runs makes .venv, later ones reuse it.
# A changed pyproject.toml is installed again.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-plain test-cluster test-netns soak fuzz fuzz-mesh lint bench-quick compile clean help

SOURCES := $(shell find proxy -name "*.py")

help:
	@echo "make demo         start a chain of services with sidecars, show where requests go (KEEP=1: leave it running)"
	@echo "make test         every test that this machine can run"
	@echo "make test-plain   the tests of the proxy with its hot path as plain Python, not compiled"
	@echo "make test-cluster the tests with a real Kubernetes API server (where KUBEBUILDER_ASSETS and POINTSMAN_TEST_CRDS are set)"
	@echo "make test-netns   the tests in network namespaces with real rules of iptables (as root; Debian: iproute2 iptables)"
	@echo "make soak         10 minutes of load, swaps, deaths and bad clients, all booked (SECONDS=30: the form in make test)"
	@echo "make fuzz         fuzz every parser, 5 minutes each (SECONDS=60: shorter; TARGET=request: one of them)"
	@echo "make fuzz-mesh    Envoy with the mesh's rules against the proxy, 10 minutes (SECONDS=60: shorter; SEED=7: again)"
	@echo "make compile      compile the hot path (demo, test, soak and bench-quick do so by themselves)"
	@echo "make lint         ruff, mypy, import contract"
	@echo "make bench-quick  CPU per request and added latency beside Envoy, 1-2 minutes"

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

$(VENV)/.installed-demo: $(VENV)/.installed demo/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r demo/requirements.txt
	touch $@

# 0.7 of the CPU per request. Where it can't be done (no C compiler), the same modules run as plain Python.
proxy/_compiled/sources.digest: $(VENV)/.installed scripts/compile.py $(SOURCES)
	$(BIN)/python scripts/compile.py --if-possible

compile: $(VENV)/.installed
	$(BIN)/python scripts/compile.py

demo: $(VENV)/.installed-demo proxy/_compiled/sources.digest
	$(BIN)/python -m demo $(if $(KEEP),--keep)

test: $(VENV)/.installed-demo proxy/_compiled/sources.digest
	$(BIN)/python -m pytest

# What has no compiled form runs the same in both, and is left out here; so is what is about others: kernel, browser, mesh.
UNCOMPILED := tests/cluster tests/netns tests/observability tests/differential/test_mesh* tests/e2e/test_mesh* \
	tests/e2e/test_preview_browser.py tests/e2e/test_doctor* tests/unit/test_*_manifests.py tests/property/test_istio* \
	tests/property/test_controller_feed.py tests/property/test_compile.py tests/property/test_documents.py \
	tests/property/test_objects.py \
	tests/unit/controller tests/unit/pointsman tests/unit/benchmarks tests/e2e/test_controller_* \
	tests/e2e/test_cli* tests/e2e/test_ui* tests/e2e/test_client.py tests/e2e/test_convergence.py tests/e2e/test_dirstore.py \
	tests/e2e/test_queue.py tests/e2e/test_receipts.py tests/e2e/test_routes_client.py tests/e2e/test_demo.py

test-plain: $(VENV)/.installed-demo
	POINTSMAN_PURE_PYTHON=1 $(BIN)/python -m pytest $(foreach path,$(UNCOMPILED),--ignore-glob=$(path))

# Part of `make test` too. Without the variables they are skipped, and say what is missing.
test-cluster: $(VENV)/.installed-demo
	$(BIN)/python -m pytest tests/cluster

# Part of `make test` too. Where namespaces or tools are missing they are skipped, and say so.
test-netns: $(VENV)/.installed-demo proxy/_compiled/sources.digest
	$(BIN)/python -m pytest tests/netns

soak: $(VENV)/.installed proxy/_compiled/sources.digest
	$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

# Not a prerequisite of anything: where atheris has no wheel, plain mutations do.
fuzz: $(VENV)/.installed-demo
	-test -e $(VENV)/.installed-fuzz || \
	  { $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]' && touch $(VENV)/.installed-fuzz; }
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),300) $(TARGET)

fuzz-mesh: $(VENV)/.installed proxy/_compiled/sources.digest
	$(BIN)/python -m tests.mesh --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/.installed-demo
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-quick: $(VENV)/.installed proxy/_compiled/sources.digest
	$(BIN)/python -m benchmarks quick

clean:
	rm -rf $(VENV) proxy/_compiled build dist *.egg-info
