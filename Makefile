# `make` lists the targets. Needs Python >= 3.11 and make; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What `make dist` fetches for nodes on EMR beside what the job always needs: requirements-formats.txt, or nothing.
FORMATS ?=
# Of the nodes on EMR that `make dist` fetches wheels for: x86_64, or aarch64 for Graviton.
ARCH ?= x86_64
# Which configuration `make emr-preflight` looks into.
CONF ?= mrjob.conf
PIP := $(BIN)/python -m pip --disable-pip-version-check
HADOOP := $(BIN)/python -m tests.engines.hadoop

.DELETE_ON_ERROR:
.PHONY: help venv run test check format train dist nodes emr-preflight archive bench test-engines test-hadoop test-emr \
	test-formats test-spark hadoop-up hadoop-down hadoop-status clean

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## sets up .venv with what runs and the commands model-mapreduce-job, check-model and iris_train

run: $(VENV)/.installed ## scores data/input.ldjson, writes data/output.ldjson and shows it
	PYTHONPATH=./ APP_SETTINGS=ProdConfig $(BIN)/python model_mapreduce_job/ml_model_map_reduce_job.py \
		--model_qualified_name iris_model ./data/input.ldjson > data/output.ldjson
	@cat data/output.ldjson

# A file's tests stay in one process.
test: $(VENV)/.installed-dev ## runs the tests that need nothing but Python
	$(BIN)/python -m pytest --ignore=tests/engines -n auto --maxprocesses 8 --dist loadfile

check: $(VENV)/.installed-dev ## checks format, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## formats the code and sorts its imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

train: $(VENV)/.installed ## trains the iris model and puts it in force
	PYTHONPATH=./ $(BIN)/python -m iris_model.iris_train

# Wheels have the times of their files in them; with the same one always, the same code gives the same wheel.
# Nodes need neither boto3, which is the launcher's, nor what other Pythons than theirs lack.
dist: $(VENV)/.installed ## builds the wheels into dist/; into dist/nodes.tar all that nodes of EMR install (ARCH=aarch64: Graviton)
	rm -rf dist/*.whl dist/nodes dist/nodes.tar $(BUILDS)
	SOURCE_DATE_EPOCH=315532800 $(PIP) wheel --no-deps --wheel-dir dist . ./packaging/ml_model_abc ./iris_model
	rm -rf $(BUILDS)
	mkdir -p dist/nodes
	grep -vE '^boto3|python_version >=' requirements.txt > dist/nodes/requirements.txt
	$(PIP) download --quiet --dest dist/nodes --only-binary :all: --implementation cp --python-version 3.11 \
		$(addprefix --platform ,$(addsuffix _$(ARCH),manylinux_2_28 manylinux_2_17 manylinux2014)) \
		pip -r dist/nodes/requirements.txt $(addprefix -r ,$(FORMATS))
	rm dist/nodes/requirements.txt
	cp dist/*.whl dist/nodes
	$(PACK)

nodes: $(VENV)/.installed ## packs dist/nodes again, after you have put wheels of your own there: dist/nodes.tar
	$(PACK)

PACK = PYTHONPATH=./ $(BIN)/python -m model_mapreduce_job.node_wheels

emr-preflight: $(VENV)/.installed ## asks AWS whether a job with CONF=mrjob.conf and PATHS=s3://... could run; makes and costs nothing
	PYTHONPATH=./ $(BIN)/python -m model_mapreduce_job.emr_preflight $(addprefix --conf-path ,$(CONF)) $(PATHS)

archive: $(VENV)/.installed ## packs Python, packages, models and settings for cluster nodes: dist/environment.tar.gz
	PYTHONPATH=./$${PYTHONPATH:+:$$PYTHONPATH} $(BIN)/python -m model_mapreduce_job.environment_archive

bench: $(VENV)/.installed-dev ## measures how fast the job is
	PYTHONPATH=./ $(BIN)/python benchmarks/run.py

test-engines: test-hadoop test-formats test-emr test-spark ## runs the tests that need an engine; fails where the engine cannot start

# Ends with the tests' exit code, the cluster stopped either way.
test-hadoop: $(VENV)/.installed-dev ## starts the Hadoop cluster, runs the tests that need it, stops it
	@$(HADOOP) up && $(BIN)/python -m pytest tests/engines $(NOT_OTHERS) -m "not disruptive" -n 3 && \
		$(BIN)/python -m pytest tests/engines $(NOT_OTHERS) -m disruptive; code=$$?; $(HADOOP) down; exit $$code

test-formats: $(VENV)/.installed-dev ## starts the Hadoop cluster, runs the tests of all formats on it, stops it
	@$(HADOOP) up && $(BIN)/python -m pytest $(FORMATS_TESTS) -n 3; code=$$?; $(HADOOP) down; exit $$code

# EMR's clusters take the place of the Hadoop cluster's NodeManagers: none of its own tests may run beside.
test-emr: $(VENV)/.installed-dev dist ## starts Hadoop and a stand-in for AWS, runs the tests of the job on EMR, stops them
	@$(HADOOP) up && $(BIN)/python -m pytest $(EMR); code=$$?; $(HADOOP) down; exit $$code

test-spark: $(VENV)/.installed-spark ## runs the tests of the job on Spark, in this machine
	$(BIN)/python -m pytest $(SPARK)

EMR := tests/engines/test_emr*.py
SPARK := tests/engines/test_spark*.py
FORMATS_TESTS := tests/engines/test_hadoop_formats.py
NOT_OTHERS := $(patsubst %,--ignore-glob='%',$(EMR) $(SPARK) $(FORMATS_TESTS))

hadoop-up: $(BIN)/python ## starts a Hadoop cluster on this machine (needs a JDK and Maven); data and logs in .hadoop/
	@$(HADOOP) up

hadoop-down: $(BIN)/python ## stops the Hadoop cluster; what is in HDFS stays
	@$(HADOOP) down

hadoop-status: $(BIN)/python ## shows the cluster's daemons; fails when one is not running
	@$(HADOOP) status

clean: ## removes .venv and everything built, cached or scored
	@if [ -d .hadoop ]; then $(PYTHON) -m tests.engines.hadoop down && rm -rf .hadoop; fi
	rm -rf $(VENV) dist $(BUILDS) *.egg-info */*.egg-info packaging/*/*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis data/output.ldjson
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Setuptools keeps files of an earlier build, a model trained before among them, and would pack them again.
BUILDS := build iris_model/build packaging/ml_model_abc/build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This project needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name a newer one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python requirements.txt setup.py iris_model/pyproject.toml packaging/ml_model_abc/pyproject.toml
	$(PIP) install -q -r requirements.txt
	$(PIP) install -q --no-deps -e ./packaging/ml_model_abc -e ./iris_model -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt requirements-formats.txt
	$(PIP) install -q -r requirements.txt -r requirements-formats.txt -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-spark: $(VENV)/.installed-dev requirements-spark.txt
	$(PIP) install -q -r requirements.txt -r requirements-spark.txt
	@touch $@
