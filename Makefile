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

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

env: $(VENV)/.ready ## set up .venv at pinned versions

$(VENV)/.ready: pyproject.toml requirements.lock
	@echo "setting up $(VENV) (once; about 6 GB and a few minutes, torch comes with its GPU libraries)"
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is %d.%d; say PYTHON=/path/to/python" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test]'
	touch $@

demo: env ## run the whole study, small: minutes on a laptop, no download
	@$(BIN)/vptcore run --profile demo --cores $(CORES)

test: env lint ## run the fast tests, and check formatting and lint
	$(BIN)/python -m pytest -n $(CORES) --no-loadscope-reorder

test-slow: env ## run the tests that take minutes or need files that are not shipped
	$(BIN)/python -m pytest -m slow

test-peers: env ## compare with recorded numbers of the authors' code and other peers' (part of `make test`)
	$(BIN)/python -m pytest tests/peers

test-slurm: env ## run a small study on a real Slurm with two simulated nodes (root on Debian; skipped elsewhere)
	$(BIN)/python -m pytest -m slurm tests/slurm

lint: env ## run ruff, snakefmt, snakemake --lint and dry runs of both configs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --logger study --dry-run all >/dev/null
	$(BIN)/snakemake --logger study --dry-run all --configfile profiles/demo/study.yaml >/dev/null

rehearsal: env ## draw every table and figure from synthetic rows, into results/rehearsal: minutes
	@$(BIN)/vptcore rehearse --cores $(CORES)

bench: env ## time our steps against the plain form that other repositories use (QUICK=1: three minutes)
	$(BIN)/python -m bench

advise-replay: env ## replay `vptcore advise` on recorded folders and count how often it was right; trains nothing
	$(BIN)/python -m bench.advise_replay

gpu-check: env ## check and time this machine's GPU in under eight minutes (PART=facts: one part, SECONDS_MOST=300: sooner)
	$(BIN)/python -m gpu_check $(if $(PART),--part $(PART)) $(if $(SECONDS_MOST),--seconds $(SECONDS_MOST))

faults: env ## kill, damage, starve and misconfigure a small study, and list what it survives (QUICK=1: minutes)
	QUICK=$(QUICK) $(BIN)/python -m faults

audit-deps: env ## list known vulnerabilities of the packages in requirements.lock (asks api.osv.dev)
	$(BIN)/python -m faults.dependencies

lock: env ## write requirements.lock from the current environment
	$(BIN)/python -m pip list --format=freeze --exclude-editable --exclude pip --exclude setuptools > requirements.lock

config-docs: env ## write docs/config.md from the schema
	$(BIN)/python -m vptstudy.config.handbook docs/config.md

pretrain: env ## pretrain the demo's backbone again: make pretrain CIFAR10=path/to/cifar10.parquet
	$(BIN)/vptcore pretrain --data "$(CIFAR10)" --out src/vptcore/assets

clean: ## remove results of the demo and the rehearsal, or of one study (STUDY=name); asks before deleting hours of work
	$(BIN)/vptcore clean $(STUDY)
