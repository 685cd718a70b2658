# Each command sets itself up: `make demo` runs the whole line, `make check` looks at the code, `make test` runs the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/ready
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: demo demo-tissue check test test-slow attack environment lock

demo: $(READY)
	$(BIN)/python jobs/run_line.py configs/demo.yaml

demo-tissue: $(READY)
	$(BIN)/python jobs/run_line.py configs/demo_tissue.yaml

test: $(READY)
	$(BIN)/python -m pytest --durations=30 --durations-min=5

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# Kills, malformed sources and both services under attack: docs/reliability.md. A second call goes on with what is left.
attack: $(READY)
	$(BIN)/python -m benchmarks.attack runs/attack

# Without the variable pyright asks the package registry for a newer version of itself.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

environment: $(READY)

# `+cpu` is a build that the package registry does not have: taken from where pip already finds it, else from
# PyTorch's own index. The rest is locked whole, so nothing is resolved and nothing is pulled in beside it.
$(READY): requirements/torch-cpu.txt requirements/cpu.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "The lock is for Python 3.11: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/torch-cpu.txt 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet --no-deps --index-url $(TORCH_CPU_INDEX) -r requirements/torch-cpu.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/cpu.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Needs `uv` and a place where pip-style resolution finds the CPU torch (UV_FIND_LINKS or UV_EXTRA_INDEX_URL).
lock:
	uv pip compile requirements/cpu.in --override requirements/cpu.overrides --python-version 3.11 \
	  --no-header --no-emit-package torch --output-file requirements/cpu.txt --quiet
	cp requirements/cpu.txt requirements/cuda.txt
	uv pip compile pyproject.toml --extra vllm-gpu --extra service --extra demo --extra dense --extra s3 \
	  --override requirements/cuda.overrides --constraint requirements/cpu.in --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_35 --no-header --output-file requirements/cuda.txt --quiet
