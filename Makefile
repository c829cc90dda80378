# Everything from a bare machine: Python 3.11 or newer, make, and a network to the package indexes.
# `make` lists the targets. ARGS goes to the command: make test ARGS="-k sink"

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

# Somebody else's packages must not stand before ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help ready demo up test bench soak lint docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

ready: ## install what the other targets need, into .venv
	@command -v $(PYTHON) >/dev/null || \
		{ echo "pagestream needs Python 3.11 or newer: there is no $(PYTHON)" >&2; exit 1; }
	@$(PYTHON) bootstrap.py

demo: ready ## walk a real city through real servers into PostgreSQL, and show the copy equal
	@$(BIN)/pagestream demo $(ARGS)

up: ready ## run Kafka, PostgreSQL, a source and all of pagestream until Ctrl-C
	@$(BIN)/pagestream up $(ARGS)

test: ready ## run the tests, on Docker's servers or on embedded ones
	@$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

soak: ready ## run the whole road through faults drawn by chance; started again, it goes on
	@PYTHONPATH=tests $(BIN)/python -P -m soak $(ARGS)

bench: ready ## measure everything beside its peers: about 20 minutes on an idle machine
	@$(BIN)/python -m bench $(ARGS)

lint: ready ## check style, format, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: ready ## write the generated parts of the documentation anew
	@$(BIN)/python docs/generate.py

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --upgrade

lock: ready ## choose the newest dependencies that fit, and lock them
	@$(LOCK) pyproject.toml --extra embedded --group dev -o requirements.lock
	@$(LOCK) pyproject.toml --constraint requirements.lock -o deploy/run.lock
	@echo hatchling | $(LOCK) - --constraint requirements.lock -o deploy/build.lock
	@echo 'datasette==0.65.*' | $(LOCK) - -o pagestream/embedded/datasette-0.65.lock
	@echo 'datasette>=1.0a0,<2' | $(LOCK) - -o pagestream/embedded/datasette-1.0.lock

clean: ## remove what was made here: .venv, caches, the embedded servers' data
	@rm -rf .venv .pagestream .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
