# The user's interface: `make` alone lists the targets. Every target runs in Docker when an engine answers, else in .venv,
# which it makes itself; RUNTIME=docker|local forces one. A failed command's exit code is the number in make's "Error N".
.DEFAULT_GOAL := help
.SECONDEXPANSION:
.NOTPARALLEL:

PYTHON ?= python3
N ?= 10

# Asked once, and only when a target needs to know. An engine that hangs counts as none after five seconds.
WHERE = $(eval WHERE := $(or $(RUNTIME),$(shell \
  limit=$$(command -v timeout && echo 5); $$limit docker info >/dev/null 2>&1 && echo docker || echo local)))$(WHERE)
IN_DOCKER = $(if $(filter docker,$(WHERE)),yes,$(if $(filter local,$(WHERE)),,$(error RUNTIME=$(WHERE): say docker or local)))

# What must be there first, and how a command is reached: `mml` itself, and the tools of the tests and checks.
MML_READY = $(if $(IN_DOCKER),image-mml,.venv/.stamp)
DEV_READY = $(if $(IN_DOCKER),image-dev,.venv/.stamp)
MML = $(if $(IN_DOCKER),docker/run mml,.venv/bin/mml)
# Byte code is kept even where the shell's settings say no: hundreds of child processes would compile the same sources.
DEV = $(if $(IN_DOCKER),docker/run dev,env -u PYTHONDONTWRITEBYTECODE PATH="$(CURDIR)/.venv/bin:$$PATH")

# $(call option,--flag,VARIABLE) is the flag and the variable's value, quoted for the shell, or nothing when it is not set.
quoted = '$(subst ','\'',$(1))'
option = $(if $($(2)),$(1) $(call quoted,$($(2))))

##@ Start here
.PHONY: help setup build doctor
help: ## this list
	@awk 'BEGIN { FS = ":[^#]*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 } \
	  /^##  / { printf "       %-16s %s\n", "", substr($$0, 5) }' Makefile
	@echo
	@echo 'RUNTIME=docker|local says where; without it: Docker when an engine answers, else the local .venv.'

setup: .venv/.stamp ## the local virtual environment .venv (targets make it themselves when they need it)
	@echo '.venv is ready: .venv/bin/mml --help'

build: $$(if $$(IN_DOCKER),image-mml image-dev,.venv/.stamp) ## the Docker images; without an engine, .venv
	@echo '$(if $(IN_DOCKER),built marketmakerl:latest and marketmakerl:dev,no Docker engine asked for or found; .venv is ready)'

doctor: $$(MML_READY) ## what works here and what does not
	@$(MML) doctor

##@ Research
.PHONY: campaign research-budgets walk-forward economics stress ablate gate calibrate fetch-data simulate compare optimum
MARKET = $(call option,--exchange,EXCHANGE) $(call option,--symbol,SYMBOL) $(call option,--data,DATA) \
  $(call option,--timeframe,TIMEFRAME) $(call option,--days,DAYS)
campaign: $$(MML_READY) ## N backtests with their summary and report, under artifacts/
##  N=10  EXCHANGE= SYMBOL= TIMEFRAME= DAYS=  DATA=file or folder  MODEL=
##  SEED= PROCS= BUDGET= ARTIFACTS=folder  ENGINE=local|ray
	@$(MML) campaign -n $(call quoted,$(N)) $(strip \
	  $(MARKET) $(call option,--model,MODEL) \
	  $(call option,--seed,SEED) $(call option,--processes,PROCS) $(call option,--budget,BUDGET) \
	  $(call option,--artifacts,ARTIFACTS) $(if $(filter-out local,$(ENGINE)),$(call option,--engine,ENGINE)))

research-budgets: $$(MML_READY) ## budgets x strategies over the last month: which cells pass their gate
##  EXCHANGE=binance SYMBOL=BTC/USDT [DAYS=30] [DATA=] TIMEFRAME= PROCS= ARTIFACTS=
	@$(MML) research-budgets $(strip $(MARKET) $(call option,--processes,PROCS) $(call option,--artifacts,ARTIFACTS))

walk-forward: $$(MML_READY) ## choose on train, run test once, fold by fold; Error 3 when the gate says no
##  EXCHANGE=binance SYMBOL=BTC/USDT DAYS=30 [DATA=] FOLDS= TIMEFRAME= PROCS= ARTIFACTS=
	@$(MML) walk-forward $(strip $(MARKET) $(call option,--folds,FOLDS) $(call option,--processes,PROCS) \
	  $(call option,--artifacts,ARTIFACTS))

economics: $$(MML_READY) ## fee tier x latency x queue model: where a model stops earning
##  EXCHANGE= SYMBOL= DATA=file or folder  [CLOCK=ticks] DAYS= MODEL= FEES=base,VIP2,0:3  PROCS= ARTIFACTS=folder
##  ARGS=any option of mml economics, such as ARGS="--queue log,front --latency-ms 0,10 --risk off"
	@$(MML) economics $(strip $(MARKET) $(call option,--clock,CLOCK) $(call option,--model,MODEL) \
	  $(call option,--fees,FEES) $(call option,--processes,PROCS) $(call option,--artifacts,ARTIFACTS) $(ARGS))

gate: $$(MML_READY) ## every check of a run, with its value and threshold; Error 3 when one fails
##  RUN=latest, a run id or a folder
	@$(MML) gate $(call quoted,$(or $(RUN),latest)) $(call option,--artifacts,ARTIFACTS)

stress: $$(MML_READY) ## one model under gaps, crashes, lost feeds, slow orders and recorded crises, against its limits
##  EXCHANGE= SYMBOL= DATA= CRISES=folder SCENARIO=one of them  MODEL= SEED= PROCS= ARTIFACTS=
##  ARGS=any option of mml stress, such as ARGS="--gate"
	@$(MML) stress $(strip $(MARKET) $(call option,--crises,CRISES) $(call option,--scenario,SCENARIO) \
	  $(call option,--model,MODEL) $(call option,--seed,SEED) $(call option,--processes,PROCS) \
	  $(call option,--artifacts,ARTIFACTS) $(ARGS))

ablate: $$(MML_READY) ## every control of risk switched off in turn: where it helps, hurts, or never acts
##  [EXCHANGE= SYMBOL= DATA= CLOCK=ticks DAYS=] MODEL= PROCS= ARTIFACTS=  ARGS=any option, such as ARGS="--windows 16"
	@$(MML) ablate $(strip $(MARKET) $(call option,--clock,CLOCK) $(call option,--model,MODEL) \
	  $(call option,--processes,PROCS) $(call option,--artifacts,ARTIFACTS) $(ARGS))

calibrate: $$(MML_READY) ## volatility, arrival curve, Hawkes, depth and adverse selection of recorded data
##  EXCHANGE= SYMBOL= DATA=file or folder  [CLOCK=ticks] DAYS= SHARE= OUT=file  ARTIFACTS=folder
	@$(MML) calibrate --report $(strip $(MARKET) $(call option,--clock,CLOCK) $(call option,--share,SHARE) \
	  $(call option,--out,OUT) $(call option,--artifacts,ARTIFACTS))

fetch-data: $$(MML_READY) ## klines, order book and trades of a public exchange into data/
##  EXCHANGE=binance SYMBOL=BTC/USDT [TIMEFRAME=1m] [DAYS=30]
	@$(MML) fetch-data $(strip $(call option,--exchange,EXCHANGE) $(call option,--symbol,SYMBOL) \
	  $(call option,--timeframe,TIMEFRAME) $(call option,--days,DAYS))

simulate: $$(MML_READY) ## one model, many paths of a model world, the exact figures beside them
##  MODEL=glft_exact GAMMA=0.1 PATHS=100000 SEED=  ARGS=any option of mml simulate, such as ARGS="--fee 0.2"
	@$(MML) simulate $(strip $(call option,--model,MODEL) $(WORLD) $(SAMPLE) $(ARGS))

compare: $$(MML_READY) ## all models on the same paths of a model world, ranked, with intervals
##  GAMMA=0.1 PATHS=100000 SEED= CALIBRATION=file  ARGS=any option of mml compare
	@$(MML) compare $(strip $(WORLD) $(SAMPLE) $(ARGS))

optimum: $$(MML_READY) ## the exact optimum of a model world and what each model leaves on the table
##  GAMMA=0.1 CALIBRATION=file  ARGS=any option of mml optimum, such as ARGS="--phi 0.5"
	@$(MML) optimum $(strip $(WORLD) $(ARGS))

WORLD = $(call option,--gamma,GAMMA) $(call option,--calibration,CALIBRATION) $(call option,--artifacts,ARTIFACTS)
SAMPLE = $(call option,--paths,PATHS) $(call option,--seed,SEED)

##@ Paper
.PHONY: realtime-paper run-live realtime-live
realtime-paper: $$(MML_READY) ## quotes on paper from public data; without EXCHANGE the embedded simulator
##  EXCHANGE=binance SYMBOL=BTC/USDT TIMEFRAME=1m ITERATIONS=20 POLL_S=5 MODEL= SEED=
	@$(MML) realtime-paper $(strip $(call option,--exchange,EXCHANGE) $(call option,--symbol,SYMBOL) \
	  $(call option,--timeframe,TIMEFRAME) $(call option,--iterations,ITERATIONS) $(call option,--poll-s,POLL_S) \
	  $(call option,--model,MODEL) $(call option,--seed,SEED) $(call option,--artifacts,ARTIFACTS))

run-live: $$(MML_READY) ## blocked, always: this program never places a real order
	@$(MML) live

realtime-live: run-live ## the same

##@ Checks
.PHONY: validate lint types test wheel
validate: lint types test ## lint + types + tests + a smoke backtest
	@$(MAKE) --no-print-directory campaign N=1 SEED=1

lint: $$(DEV_READY) ## style, format and the layers of the package
	@$(DEV) ruff check .
	@$(DEV) ruff format --check .
	@$(DEV) lint-imports

types: $$(DEV_READY) ## mypy, strict
	@$(DEV) mypy

test: $$(DEV_READY) ## everything the tests need, then the tests
##  ARGS=pytest arguments, such as ARGS="-k ledger"; ARGS="-m long" for the slow ones
	@$(DEV) mml warm
	@$(DEV) pytest -n auto -m 'not long' $(ARGS)

wheel: .venv/.stamp ## dist/*.whl with compiled kernels inside: its first tick result takes a second or two
	@.venv/bin/mml warm --ship
	@PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip wheel -qq --no-deps -w dist .
	@rm -rf src/marketmakerl/kernels && ls dist

##@ Speed
.PHONY: bench
bench: .venv/.stamp ## our engine and its peers on the same work, in turn; always in .venv
##  ARGS=--quick (a smoke test), ARGS=--help (all options)
	@.venv/bin/python benchmarks/run.py $(ARGS)

##@ Housekeeping
.PHONY: clean
clean: ## remove .venv, caches and images; artifacts/ and data/ stay
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks dist build
	@find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	@$(if $(IN_DOCKER),docker/run clean)

.PHONY: image-mml image-dev FORCE
image-mml image-dev: image-%:
	@docker/run build $*

# A copied or moved checkout takes its .venv along, whose scripts still name the old place.
MOVED := $(shell [ ! -e .venv/.stamp ] || [ "$$(cat .venv/.stamp)" = "$$(pwd)" ] || echo FORCE)
PYTHON_CHECK = import sys; sys.exit("%s is Python %d.%d" % (sys.executable, *sys.version_info[:2]) if sys.version_info < (3, 11) else 0)
PACKAGE_HINT = on Debian: apt-get install python3-venv

.venv/.stamp: pyproject.toml constraints.txt $(MOVED)
	@command -v $(PYTHON) >/dev/null || { echo 'no $(PYTHON) here, Python 3.11 or newer is needed; $(PACKAGE_HINT)' >&2; exit 1; }
	@$(PYTHON) -c '$(PYTHON_CHECK)' || { echo 'Python 3.11 or newer is needed; name one: make PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make virtual environments; $(PACKAGE_HINT)' >&2; exit 1; }
	@echo 'installing into .venv (the first time takes a minute)' >&2
	@$(PYTHON) -m venv $(if $(MOVED),--clear) .venv
	@PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install -qq -e '.[dev]' \
	  || { echo 'the packages could not be installed: see above' >&2; exit 1; }
	@.venv/bin/mml warm || echo 'the kernels are not compiled yet; the first command will do it' >&2
	@pwd > $@
