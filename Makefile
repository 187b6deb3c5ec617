# Targets run in a virtual environment of their own, .venv, made on first use.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
CHECKED := flawsmith service worker models bench tests

IMAGE ?=
MASK ?=
DEFECT ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo sample test lint bench openapi clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP) ## make .venv with everything that development needs

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Flawsmith needs Python 3.11 or newer; name one: make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[api,worker,otel,dev]'
	@touch $@

demo: $(STAMP) ## draw defects on a sample part, or on IMAGE=… MASK=… [DEFECT=…]
	$(BIN)/python -m flawsmith.demo --out out/demo $(if $(IMAGE),--image '$(IMAGE)') $(if $(MASK),--mask '$(MASK)') $(if $(DEFECT),--defect '$(DEFECT)')

sample: $(STAMP) ## write a normal image and a mask to out/sample
	@mkdir -p out/sample
	$(BIN)/python -m models.rendering sample out/sample/image.png out/sample/mask.png --size 384x256 --seed 58

test: lint ## everything that must hold: lint, types, imports, tests
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $$(nproc) --maxprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## style, types and the arrows between the rooms
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## measure; ARGS=… go to the benchmark
	$(BIN)/python -m bench $(ARGS)

openapi: $(STAMP) ## write openapi.yaml from the code
	$(BIN)/python -m service.openapi

clean: ## remove what was made here, .venv too
	rm -rf .venv out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
