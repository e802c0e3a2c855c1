# `make demo` and `make test` work on a fresh machine: both create .venv first; a second call finds it ready.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
NEXT_BIN := .venv-next/bin
LOWEST_BIN := .venv-lowest/bin
SUITE := -m pytest -n 2 --dist loadfile -m 'not slow and not gpu'

# $(call install,FOLDER): the tested set in a virtual environment
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; run make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(1) || { echo "error: no venv module: apt install python3-venv" >&2; exit 2; }
	DS_BUILD_OPS=0 $(1)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
endef

.PHONY: setup demo test test-slow test-gpu test-ptx test-trackers test-faults test-long test-fuzz test-next test-lowest lint \
	format bench gpu clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(call install,$(VENV))
	@touch $@

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bistil_ds.demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python $(SUITE)

# SIXTH=0 … SIXTH=5 runs one test in six; one after the other, because some of them take times
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(if $(SIXTH),--sixth $(SIXTH))

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

# A quarter of the compiled kernels' variants, run on the CPU instruction by instruction by the tool ptxrun
test-ptx: TOOLS = ../shared/tools
test-ptx: $(READY)
	@if [ -d $(TOOLS)/ptxrun ]; then PYTHONPATH=.:kernels:tests/support:$(TOOLS) OMP_NUM_THREADS=1 $(BIN)/python \
		-m ptxrun.check --project . --more tests.kernels.ptx_variants --quick; \
	else echo "no $(TOOLS)/ptxrun here: the compiled kernels were not run"; fi

# wandb and mlflow lie beside the environment: in it, mlflow would lengthen every start of DeepSpeed by seconds
test-trackers: TRACKERS = $(CURDIR)/$(VENV)/trackers
test-trackers: $(READY)
	$(BIN)/pip install --quiet --upgrade --target $(TRACKERS) --constraint constraints.txt $$($(BIN)/python -c \
		'import tomllib as t; print(*t.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["trackers"])')
	PYTHONPATH=$(TRACKERS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training/test_trackers.py \
		tests/commands/test_trackers.py

# KILLS kills of training runs, at places and times drawn by SEED (see docs/reliability.md); 100 take 7 CPU minutes
test-faults: KILLS = 100
test-faults: SEED = 1
test-faults: $(READY)
	PYTHONPATH=.:kernels:tests/support OMP_NUM_THREADS=1 $(BIN)/python tests/support/programs/kill_anywhere.py \
		--kills $(KILLS) --seed $(SEED)

# MINUTES of phase 1 on two ranks with kills, beside the same run without (see docs/reliability.md). FLAGS are flags of
# tests/support/programs/long_run.py and general.py, such as --teacher_model and --text; default: the embedded sample
test-long: MINUTES = 120
test-long: FLAGS = --per_device_train_batch_size 4
test-long: $(READY)
	PYTHONPATH=.:kernels:tests/support OMP_NUM_THREADS=1 $(BIN)/python tests/support/programs/long_run.py \
		--minutes $(MINUTES) --deepspeed zero2 $(FLAGS)

# INPUTS made-up inputs for readers, loaders, trimming and flags, drawn by SEED (see docs/reliability.md)
test-fuzz: INPUTS = 100000
test-fuzz: SEED = 1
test-fuzz: $(READY)
	PYTHONPATH=.:kernels:tests/support OMP_NUM_THREADS=1 $(BIN)/python tests/support/programs/fuzz_everything.py \
		--inputs $(INPUTS) --seed $(SEED)

# The suite with the newest release of each library that pyproject.toml bounds from above, in a second environment.
# NEXT="triton datasets" upgrades these alone, to find the one that breaks; TORCH=1 upgrades torch too (gigabytes).
test-next:
	$(call install,.venv-next)
	DS_BUILD_OPS=0 $(NEXT_BIN)/python tests/support/other_versions.py newest $(if $(TORCH),--torch) $(NEXT)
	@rm -f .venv-next/suite.xml
	-OMP_NUM_THREADS=1 $(NEXT_BIN)/python $(SUITE) --junitxml .venv-next/suite.xml
	@$(NEXT_BIN)/python tests/support/other_versions.py report .venv-next/suite.xml

# The suite with the lowest release of each dependency that pyproject.toml allows, in a third environment (6 GB: these
# are torch's for NVIDIA's GPUs, where uv is not told of another index). TESTS="tests/distillation ..." runs these alone
test-lowest:
	@$(PYTHON) -m venv --clear .venv-lowest
	@$(LOWEST_BIN)/pip install --quiet packaging uv
	DS_BUILD_OPS=0 $(LOWEST_BIN)/python tests/support/other_versions.py lowest
	-OMP_NUM_THREADS=1 $(LOWEST_BIN)/python $(SUITE) --junitxml .venv-lowest/suite.xml $(TESTS)
	@$(LOWEST_BIN)/python tests/support/other_versions.py report --lowest .venv-lowest/suite.xml

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cffconvert --validate
	$(if $(wildcard $(BIN)/hadolint),$(BIN)/hadolint Dockerfile,@echo "no hadolint for this machine: Dockerfile not checked")

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python benchmarks/throughput.py

# all that a GPU can show in MINUTES; without a network see docs/gpu.md
gpu: MINUTES = 9
gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py --minutes $(MINUTES)

clean:
	rm -rf $(VENV) .venv-next .venv-lowest build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
