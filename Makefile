# Short names for developers; everything here is one command that can be typed by hand.
PY := .venv/bin/python

.PHONY: setup demo test coverage nightly lint format types build check-install clean

setup:
	bash scripts/setup.sh all,test,dev

demo:
	bash scripts/demo.sh

test:
	bash scripts/test.sh

# Lines and branches of src that the tests reach, and whether these are the 95 % of lines that CI asks for.
coverage:
	COVERAGE=1 bash scripts/test.sh
	$(PY) scripts/print_coverage.py --least 95 --files 40

# What takes too long for every change: thirty times as many damaged files, ten times as many kills.
nightly:
	NAPARI_MRTRANS_FUZZ=10000 bash scripts/test.sh tests/fuzz
	NAPARI_MRTRANS_NIGHTLY=1 NAPARI_MRTRANS_KILLS=50 bash scripts/test.sh tests/faults
	NAPARI_MRTRANS_NIGHTLY=1 bash scripts/test.sh -m nightly --ignore=tests/faults

lint:
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format:
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types:
	$(PY) -m mypy

build:
	$(PY) -m build

check-install:
	bash scripts/check_install.sh $(PY)

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache coverage.json
