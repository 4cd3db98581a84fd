# medtrans: two commands are enough, `make quickstart` and `make test`. Both set up .venv once per pyproject.toml.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
KEY    := $(shell sha256sum pyproject.toml | cut -c1-16)
READY  := $(VENV)/.ready-$(KEY)
OUT    ?= quickstart

.PHONY: help install quickstart test clean bundles
help:            ## list the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

install: $(READY) ## set up .venv (skipped when pyproject.toml has not changed)
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	rm -f $(VENV)/.ready-*
	touch $@

quickstart: $(READY) ## phantom cohort -> train MedGAN (quick setting) -> translate -> evaluate; minutes on a CPU
	PATH="$(CURDIR)/$(BIN):$$PATH" OUT="$(OUT)" bash bundles/quickstart.sh

test: $(READY)   ## style, types and all tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

clean:           ## remove what the quickstart and the tests leave behind
	rm -rf quickstart .pytest_cache .mypy_cache .ruff_cache

bundles:         ## write every bundle's root files from its configs/
	for bundle in bundles/*/; do cp $$bundle/configs/*.json $$bundle/configs/logging.conf $$bundle/; done
