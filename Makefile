# pygradc's tasks. From a fresh clone, with Python >= 3.9, make and a C compiler:
#
#   make train    set everything up and train on the handwritten digits
#   make test     set everything up and run the tests
#
#   make bench    measure, and write bench/RESULTS.md
#   make ctest    the C core alone, under AddressSanitizer and UBSan
#   make fuzz     the C core and bytes that nobody thought of, for FUZZ_SECONDS=60
#   make lint     ruff, clang-format, mypy
#   make format   format Python and C
#   make docs     write the generated parts of the README and of _core.pyi anew
#   make clean    remove what was built

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

CORE := $(wildcard csrc/*.c)
C_FILES := $(wildcard csrc/*.[ch] csrc/python/*.[ch] tests/c/*.[ch] tests/fuzz/*.[ch])
SOURCES := pyproject.toml setup.py pygradc/_build.py $(wildcard csrc/* csrc/python/*)
WARNINGS := -std=c11 -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror
SANITIZE := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: train test bench ctest clean-ctest fuzz fuzz-merge lint format docs clean

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
HEADERS := $(wildcard csrc/*.h csrc/*.def tests/c/*.h tests/fuzz/*.h)

build/$(CC)/%.o: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(SANITIZE) -ffp-contract=off -Icsrc -Itests/c -c $< -o $@

build/$(CC)/test_core: $(TESTED)
	$(CC) $(SANITIZE) $^ -lm -lpthread -o $@

# Fuzz targets: tests/fuzz/README.md. FUZZ_SECONDS is for all of them together.
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := program part graph
FUZZ_FLAGS := $(WARNINGS) -g -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=off
FUZZ_SHARED := $(CORE) tests/c/testing.c \
	$(filter-out tests/fuzz/fuzz_%.c tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c))
FUZZ_BINARIES := $(FUZZ_TARGETS:%=build/fuzz/%)

# The fuzz targets as ordinary programs: they run files.
REPLAYED := $(FUZZ_TARGETS:%=build/$(CC)/replay_%)

$(REPLAYED): build/$(CC)/replay_%: build/$(CC)/tests/fuzz/fuzz_%.o build/$(CC)/tests/fuzz/replay.o \
		$(FUZZ_SHARED:%.c=build/$(CC)/%.o)
	$(CC) $(SANITIZE) $^ -lm -lpthread -o $@

ctest:
	$(MAKE) -s -j2 build/$(CC)/test_core $(REPLAYED)
	build/$(CC)/test_core
	for target in $(FUZZ_TARGETS); do \
		build/$(CC)/replay_$$target tests/fuzz/corpus/$$target || exit 1; \
	done

clean-ctest:
	rm -rf build/$(CC)

# The lanes' kernels have one way through them, and take clang minutes with counters and -O1.
build/fuzz/csrc/lanes_%.o: csrc/lanes_%.c $(HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -O0 -Icsrc -c $< -o $@

build/fuzz/%.o: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -O1 -fsanitize=fuzzer-no-link -Icsrc -Itests/c -c $< -o $@

$(FUZZ_BINARIES): build/fuzz/%: build/fuzz/tests/fuzz/fuzz_%.o $(FUZZ_SHARED:%.c=build/fuzz/%.o)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -lm -lpthread -o $@

fuzz:
	$(MAKE) -s -j2 $(FUZZ_BINARIES)
	for target in $(FUZZ_TARGETS); do \
		mkdir -p build/fuzz/new/$$target && \
		build/fuzz/$$target -max_total_time=$$(($(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)))) \
			-verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz/$$target- \
			build/fuzz/new/$$target tests/fuzz/corpus/$$target || exit 1; \
	done

# Keep the fewest files that reach what the corpora, what `make fuzz` found, and FROM reach.
fuzz-merge:
	for target in $(FUZZ_TARGETS); do \
		rm -rf build/fuzz/least && \
		mkdir -p build/fuzz/least build/fuzz/new/$$target tests/fuzz/corpus/$$target && \
		build/fuzz/$$target -merge=1 -use_counters=0 -verbosity=0 build/fuzz/least \
			tests/fuzz/corpus/$$target build/fuzz/new/$$target $(FROM:%=%/$$target) && \
		rm -rf tests/fuzz/corpus/$$target && mv build/fuzz/least tests/fuzz/corpus/$$target \
		|| exit 1; \
	done

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
