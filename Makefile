# Commands of developers and CI. `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Build of torch: `cpu`, or `cuda`, the package index's default on Linux. Default: `cuda` where an NVIDIA driver is found.
TORCH ?= $(if $(shell command -v nvidia-smi 2>/dev/null),cuda,cpu)
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
STAMP := $(VENV)/.installed-$(TORCH)
TEST_STAMP := $(VENV)/.test-extras
export PATH := $(abspath $(BIN)):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

# Tests of one file run in one process: they share expensive fixtures. tests/conftest.py orders the files.
PARALLEL ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help env demo summary test test-fast lint format serve mlflow-ui clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

env: $(STAMP) ## virtual environment with pinned versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, $(PYTHON) is %d.%d; set PYTHON=python3.x" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' || { echo "error: pip could not be updated; is the package index reachable?"; exit 1; }
	@if ls $(VENV)/.installed-* 2>/dev/null | grep -qv -- '-$(TORCH)$$'; then $(BIN)/pip uninstall --quiet --yes torch; fi
ifeq ($(TORCH),cpu)
	@# The CPU build comes from the configured index, else from PyTorch's own.
	$(BIN)/pip install --quiet 'torch==$(TORCH_VERSION)+cpu' 2>/dev/null || \
	  $(BIN)/pip install --quiet 'torch==$(TORCH_VERSION)+cpu' --extra-index-url $(TORCH_CPU_INDEX)
else
	$(BIN)/pip install --quiet 'torch==$(TORCH_VERSION)'
endif
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	@rm -f $(VENV)/.installed-*
	@touch $@

# Test dependencies: TensorFlow (1.4 GB) for `hdnet import-tf`, an S3 server for DVC's remotes.
$(TEST_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group test
	@touch $@

demo: env ## the shipped model registered, trained on with fresh synthetic people, and compared
	dvc repro
	@$(MAKE) --no-print-directory summary

summary: ## the evaluation table and next commands
	@echo; cat reports/evaluate/table.md; echo
	@echo "Registered: $$(tr -d '\n' < reports/register/version.json)"
	@head -1 reports/promote/decision.md
	@echo "Next:"
	@echo "  make mlflow-ui    runs, curves, pictures, the registered model: $(MLFLOW_VIEW)"
	@echo "  make serve        POST /depth: http://127.0.0.1:8000"
	@echo "  curl -F image=@photo.jpg -H 'Accept: model/gltf-binary' -o person.glb http://127.0.0.1:8000/depth"

test: env $(TEST_STAMP) ## lint, types and the whole test suite
	@$(MAKE) --no-print-directory lint
	pytest $(PARALLEL) --durations=40 --durations-min=5

test-fast: env ## the tests that take seconds
	pytest $(PARALLEL) -m 'not slow'

lint: env ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

format: env ## let ruff rewrite the code
	ruff check --fix .
	ruff format .

serve: env ## the HTTP service
	hdnet serve

# MLflow 3.17 opens every other address in its view for language models.
MLFLOW_VIEW := http://127.0.0.1:5000/\#/experiments/1/runs?workflowType=machine_learning

mlflow-ui: env ## MLflow's web page on the local database
	@echo "$(MLFLOW_VIEW)"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}

clean: ## remove the pipeline's data, models and reports; keep environment, runs and registry
	rm -rf data/raw data/packed data/pseudo_normals data/correspondences models reports checkpoints
	rm -rf .pytest_cache .mypy_cache .ruff_cache
