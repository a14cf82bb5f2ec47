# Every target brings its own set-up: a machine needs only make and Python 3.11 or newer.
#   make test ARGS="-k minhash"            passes ARGS on to pytest
#   make fuzz SEED=7                       repeats the search with that seed
#   make test PYTHON=/opt/python3.12/bin/python3   makes .venv with another Python

PYTHON ?= python3
ARGS ?=
SEED ?=
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
SCHEMA := configs/curate.schema.json
pytest = $(BIN)/python -m pytest -n logical --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test fuzz lint type docs bench schema clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV) ## install everything for development into .venv

demo: $(RUNTIME) ## gather text from this machine, curate it, write a report to demo/
	$(BIN)/curate demo $(ARGS)

test: $(DEV) ## run all tests and doctests, one process per core
	$(pytest) $(ARGS)

fuzz: $(DEV) ## search for inputs that break a property, ten times as many as `make test` tries, chosen by chance
	@seed=$(or $(SEED),$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')); again="make fuzz SEED=$$seed"; \
	echo "the seed is $$seed; '$$again' tries the same inputs"; \
	$(pytest) -m hypothesis --hypothesis-profile=fuzz --hypothesis-seed=$$seed --timeout=3600 $(ARGS) || \
	  { echo "the seed was $$seed: $$again"; exit 1; }

lint: $(DEV) ## style, formatting, import layers, types, and the schema is up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/curate schema | diff $(SCHEMA) - || { echo "$(SCHEMA) is out of date: run make schema" >&2; exit 1; }

type: $(DEV) ## types alone
	$(BIN)/pyright

docs: $(DEV) ## run the examples of the docstrings and of the documentation
	$(BIN)/python -m pytest curate tests/test_docs.py $(ARGS)

bench: $(DEV) ## run the benchmarks of scripts/
	@for bench in scripts/bench/*.py; do echo "$$bench"; $(BIN)/python "$$bench" || exit 1; done

schema: $(DEV) ## write the JSON schema that editors check recipes with
	$(BIN)/curate schema > $(SCHEMA).tmp
	mv $(SCHEMA).tmp $(SCHEMA)

clean: ## remove .venv, the demo and caches; runs/ and models/ stay
	rm -rf $(VENV) demo dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up -------------------------------------------------------------------------------------------------------

comma := ,

# $(call install,<requirement>,<stamps>): install, get the language model, say what it took
define install
	@start=$$(date +%s) && \
	$(BIN)/python -m pip install --disable-pip-version-check --no-input --editable "$(1)" && \
	$(BIN)/curate models fetch lid && \
	touch $(2) && \
	echo "set-up of $(1) took $$(($$(date +%s) - start)) s; $(VENV) holds $$(du -sh $(VENV) | cut -f1)"
endef

# kenlm, which nothing but kenlm's own binary models needs, has no wheel: it compiles in about a minute.
compiler = { command -v c++ || command -v g++; } >/dev/null
without_compiler = There is no C++ compiler here, so kenlm is left out: kenlm's binary models cannot be opened, all else \
works. With one (Debian and Ubuntu: apt-get install g++ python3-dev) it is: $(BIN)/python -m pip install -e '.[kenlm]'

$(RUNTIME): pyproject.toml | $(VENV)/.created
	$(call install,.,$@)

$(DEV): pyproject.toml | $(VENV)/.created
	@$(compiler) || echo "$(without_compiler)" >&2
	$(call install,.[all$(comma)dev],$(RUNTIME))
	@! $(compiler) || $(BIN)/python -m pip install --disable-pip-version-check --no-input --editable '.[kenlm]' || \
	  echo "kenlm did not compile and is left out; it needs g++ and Python's headers: apt-get install g++ python3-dev" >&2
	@touch $@

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no '$(PYTHON)' here. curate needs Python 3.11 or newer: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "'$(PYTHON)' is $$($(PYTHON) --version). curate needs Python 3.11 or newer: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks its venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
