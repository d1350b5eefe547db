# Every target but check-env does the set-up it needs, into .venv. Choose the interpreter with PYTHON=...;
# extra arguments go in ARGS, for example: make test ARGS="tests/masking -x"

BIN := .venv/bin
ARGS ?=
export PYTHON

.PHONY: help setup check-env lint test test-fast demo study-recipes study-labels clean

help:
	@echo "make setup         install everything into .venv (the targets below run it themselves)"
	@echo "make demo          the whole pipeline on a generated town; report in work_dirs/demo/report.html"
	@echo "make test          all tests"
	@echo "make test-fast     all tests except slow ones and those on real frames"
	@echo "make lint          ruff, mypy, codespell and the import rules"
	@echo "make study-recipes pretraining recipes against each other; options of the study in ARGS"
	@echo "make study-labels  labels that pretraining saves; options of the study in ARGS"
	@echo "make check-env     installed packages, and a fix for each problem"
	@echo "make clean         remove work_dirs and caches; .venv stays"

setup:
	@bash tools/setup_env.sh

check-env:
	@$(or $(wildcard $(BIN)/python),$(PYTHON),python3) tools/check_env.py

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# A worker per core, and one thread in each. Tests of one file share their fixtures, so they stay together.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test: setup
	$(PYTEST) $(ARGS)

test-fast: setup
	$(PYTEST) -m "not slow and not real" $(ARGS)

demo: setup
	$(BIN)/python tools/demo.py $(ARGS)

# For example: make study-recipes ARGS="tools/studies/comparisons/decoder_town.py
# --work-dir work_dirs/recipes"
study-recipes: setup
	$(BIN)/python tools/study_recipes.py $(ARGS)

# For example: make study-labels ARGS="CONFIG --index INDEX --train train --val val --iterations 300
# --init random --init pretrained=EXPORT.safetensors --work-dir work_dirs/labels"
study-labels: setup
	$(BIN)/python tools/label_efficiency.py $(ARGS)

clean:
	rm -rf work_dirs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
