# pygradc's tasks. From a fresh clone, with Python >= 3.9, make and a C compiler:
#
#   make train    set everything up and train on the handwritten digits
#   make test     set everything up and run the tests
#
#   make bench    measure, and write bench/RESULTS.md
#   make ctest    the C core alone, under AddressSanitizer and UBSan
#   make lint     ruff, clang-format, mypy
#   make format   format Python and C
#   make docs     write the generated parts of the README and of _core.pyi anew
#   make clean    remove what was built

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

CORE := $(wildcard csrc/*.c)
C_FILES := $(wildcard csrc/*.[ch] csrc/python/*.[ch] tests/c/*.[ch])
SOURCES := pyproject.toml setup.py pygradc/_build.py $(wildcard csrc/* csrc/python/*)
WARNINGS := -std=c11 -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror
SANITIZE := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: train test bench ctest clean-ctest lint format docs clean

$(VENV)/ready: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,test]'
	touch $@

$(VENV)/lint: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '.[lint]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

train: $(VENV)/ready
	$(BIN)/python -m pygradc train $(ARGS)

test: $(VENV)/ready
	$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/ready
	$(BIN)/python bench/run.py $(ARGS)

# Each compiler has objects of its own; only what changed is compiled again.
TESTED := $(patsubst %.c,build/$(CC)/%.o,$(CORE) $(wildcard tests/c/*.c))
HEADERS := $(wildcard csrc/*.h csrc/*.def tests/c/*.h)

build/$(CC)/%.o: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(SANITIZE) -ffp-contract=off -Icsrc -c $< -o $@

build/$(CC)/test_core: $(TESTED)
	$(CC) $(SANITIZE) $^ -lm -lpthread -o $@

ctest:
	$(MAKE) -s -j2 build/$(CC)/test_core
	build/$(CC)/test_core

clean-ctest:
	rm -rf build/$(CC)

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/mypy
	for file in csrc/*.c; do $(CC) $(WARNINGS) -O2 -fsyntax-only $$file || exit 1; done

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

docs: $(VENV)/ready
	$(BIN)/python docs/generate.py

clean:
	rm -rf build dist *.egg-info $(VENV) pygradc/*.so
