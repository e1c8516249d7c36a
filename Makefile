# `make demo` and `make test` do all the set-up; everything else is listed by `make help`.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
# One thread a job: rows are the same on any number of cores.
export OMP_NUM_THREADS ?= 1

.PHONY: help env demo test test-slow test-peers test-slurm lint rehearsal bench advise-replay gpu-check faults audit-deps lock config-docs pretrain clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

env: $(VENV)/.ready ## the environment, at pinned versions

$(VENV)/.ready: pyproject.toml requirements.lock
	@echo "setting up $(VENV) (once; about 6 GB and a few minutes, torch comes with its GPU libraries)"
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is %d.%d; say PYTHON=/path/to/python" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test]'
	touch $@

demo: env ## the whole study, small: minutes on a laptop, no download
	@$(BIN)/vptcore run --profile demo --cores $(CORES)

test: env lint ## fast tests, formatting and lint
	$(BIN)/python -m pytest -n $(CORES) --no-loadscope-reorder

test-slow: env ## tests that take minutes or need files that are not shipped
	$(BIN)/python -m pytest -m slow

test-peers: env ## numbers of the authors' and other peers' code beside ours (part of `make test`)
	$(BIN)/python -m pytest tests/peers

test-slurm: env ## the study on a real Slurm of two pretended nodes (root on Debian; skipped elsewhere)
	$(BIN)/python -m pytest -m slurm tests/slurm

lint: env ## ruff, snakefmt, snakemake --lint, dry runs of both configs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --logger study --dry-run all >/dev/null
	$(BIN)/snakemake --logger study --dry-run all --configfile profiles/demo/study.yaml >/dev/null

rehearsal: env ## a complete synthetic study through every table and figure, into results/rehearsal: minutes
	@$(BIN)/vptcore rehearse --cores $(CORES)

bench: env ## our steps against the plain form that other repositories use (QUICK=1: three minutes)
	$(BIN)/python -m bench

advise-replay: env ## what `vptcore advise` would have said of recorded folders, and whether it was right: nothing is trained
	$(BIN)/python -m bench.advise_replay

gpu-check: env ## what holds on this machine's GPU, in under eight minutes (PART=facts: one part, SECONDS_MOST=300: sooner)
	$(BIN)/python -m gpu_check $(if $(PART),--part $(PART)) $(if $(SECONDS_MOST),--seconds $(SECONDS_MOST))

faults: env ## a small study killed, damaged, starved and misconfigured: what it survives (QUICK=1: minutes)
	QUICK=$(QUICK) $(BIN)/python -m faults

audit-deps: env ## known weaknesses of the packages in requirements.lock (asks api.osv.dev)
	$(BIN)/python -m faults.dependencies

lock: env ## write requirements.lock from the environment as it stands
	$(BIN)/python -m pip list --format=freeze --exclude-editable --exclude pip --exclude setuptools > requirements.lock

config-docs: env ## docs/config.md from the schema
	$(BIN)/python -m vptstudy.config.handbook docs/config.md

pretrain: env ## pretrain the demo's backbone anew: make pretrain CIFAR10=path/to/cifar10.parquet
	$(BIN)/vptcore pretrain --data "$(CIFAR10)" --out src/vptcore/assets

clean: ## remove the results of the demo and the rehearsal, or make clean STUDY=name; asks before hours of work go
	$(BIN)/vptcore clean $(STUDY)
