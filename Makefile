# medtrans: two commands are enough, `make quickstart` and `make test`. Both set up .venv once per pyproject.toml.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
KEY    := $(shell sha256sum pyproject.toml | cut -c1-16)
READY  := $(VENV)/.ready-$(KEY)
OUT    ?= quickstart

LABEL  := .venv-label
LABEL_READY := $(LABEL)/.ready-$(KEY)

.PHONY: help install quickstart test label test-label clean bundles
help:            ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

install: $(READY) ## set up .venv (skipped when pyproject.toml has not changed)
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	rm -f $(VENV)/.ready-*
	touch $@

quickstart: $(READY) ## phantom cohort -> train MedGAN (quick setting) -> translate -> evaluate; minutes on a CPU
	$(BIN)/medtrans phantom $(OUT)/phantoms --subjects 16 --spacing 3.5
	$(BIN)/python -m monai.bundle run training --config_file "['bundles/medgan/train.json','bundles/medgan/quick.json']" \
	  --dataset_dir $(OUT)/phantoms --ckpt_dir $(OUT)/models --output_dir $(OUT)/training
	$(BIN)/medtrans translate bundles/medgan $(OUT)/phantoms $(OUT)/synthetic --set ckpt_dir=$(OUT)/models
	$(BIN)/medtrans evaluate $(OUT)/synthetic $(OUT)/phantoms --target T2 --source T1 --output $(OUT)/report
	@echo
	@echo "Trained, translated, judged. Look at:"
	@echo "  $(OUT)/report/report.html           the report; pictures/, metrics.csv and summary.md lie beside it"
	@echo "  $(OUT)/synthetic/                   synthetic T2 volumes of the held-out heads (NIfTI)"
	@echo "  $(OUT)/training/pictures/           samples after each epoch; tensorboard --logdir $(OUT)/training"
	@echo "  $(OUT)/models/model.pt              the generator"

test: $(READY)   ## style, types and all tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

label: $(LABEL_READY) ## set up .venv-label: medtrans with MONAI Label, which needs an environment of its own
$(LABEL_READY): pyproject.toml
	test -x $(LABEL)/bin/python || $(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/python -m pip install --quiet --upgrade pip
	$(LABEL)/bin/python -m pip install --quiet --editable '.[label]'
	rm -f $(LABEL)/.ready-*
	touch $@

test-label: $(LABEL_READY) ## the tests of MONAI Label, in its environment
	OMP_NUM_THREADS=1 $(LABEL)/bin/python -m pytest tests/label/server

clean:           ## remove what the quickstart and the tests leave behind
	rm -rf quickstart .pytest_cache .mypy_cache .ruff_cache

bundles: $(READY) ## write every bundle's configs from bundles/common and its method.json
	$(BIN)/python -m medtrans.bundle_configs bundles
