# Two commands: `make run` (the whole product on a demonstration practice) and `make test`.
SHELL := /bin/bash
VENV  := .venv
PY    := $(VENV)/bin/python
DATA  ?= var
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run install test check bench format install-test lock clean screenshots

run: install            ## a small practice, two nights, a copy, an exercise; serves https://127.0.0.1:8443
	@$(VENV)/bin/armoire --data $(DATA) demo

install: $(VENV)/.installed   ## .venv/bin/armoire with its own pinned Borg

$(VENV)/.installed: pyproject.toml requirements/build.lock requirements/appliance.lock scripts/install
	@scripts/install appliance
	@touch $@

install-test: $(VENV)/.installed-test

$(VENV)/.installed-test: $(VENV)/.installed requirements/test.lock scripts/install
	@scripts/install test
	@touch $@

check: install-test     ## ruff, mypy --strict, import-linter
	@scripts/check

test: install-test      ## the checks, then the whole suite
	@scripts/check
	@scripts/test

bench: install-test     ## the bars, peers in the same run: a table and var/bench.json
	@$(PY) -m pytest tests/bench -m bench -s -q -p no:xdist --timeout=3000

screenshots: install-test   ## pictures of every page of a running box: 390 and 1440 px, light and dark
	@$(PY) scripts/screenshots --data $(DATA)

format: install-test
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix -q .

lock:                   ## make the lock files again after pyproject.toml changed
	@scripts/lock

clean:
	rm -rf $(VENV) var
