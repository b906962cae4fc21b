# pygradc's tasks. From a fresh clone, with Python >= 3.9, make and a C compiler:
#
#   make train    set everything up and train on the handwritten digits
#   make test     set everything up and run the tests
#
#                 OLDEST=1: on the oldest versions that pyproject.toml declares
#
#   make notebooks  run examples/notebooks, whose numbers must be those that are kept
#   make bench    measure, and write bench/RESULTS.md
#   make ctest    the C core alone, under AddressSanitizer and UBSan
#   make verify   the same, and the core checks its invariants after every operation
#   make valgrind the C core alone, under valgrind's memcheck
#   make ctest-aarch64  the C core alone, built for AArch64, under qemu
#   make ctest-plain    the C core alone, as a compiler without gcc's extensions takes it
#   make ctest-windows  the same, for Windows by mingw-w64, under wine
#   make prove-powers  the vectors for a ** 2 and its like, beside libm's pow, at POINTS=10000000 of each
#   make fuzz     the C core and bytes that nobody thought of, for FUZZ_SECONDS=60
#   make pytest-asan  the tests, and the extension as `make verify` builds it: ARGS= which tests
#   make lint     ruff, clang-format, mypy, pyright, stubs, the warnings of gcc and clang
#   make wheels   wheels for every Python of the machine, tested, in dist/: docs/releasing.md
#   make analyze  cppcheck; .cppcheck says what it needn't
#   make format   format Python and C
#   make dagre    fetch the layout of the viewer's page by npm, and check that it is the one known
#   make docs     write the generated parts of docs/ops.md and of _core.pyi anew
#   make docs-site  the documentation as a site, in build/site: begin at build/site/index.html
#   make clean    remove what was built

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

PARTS := csrc/base csrc/ops csrc/graph csrc/record csrc/program csrc/native csrc/replay
CORE := $(wildcard $(PARTS:%=%/*.c))
GLUE_FILES := $(wildcard csrc/python/*.c)
CORE_HEADERS := csrc/pygradc.h $(wildcard $(PARTS:%=%/*.h) $(PARTS:%=%/*.def))
GLUE_HEADERS := $(wildcard csrc/python/*.h)
C_FILES := $(filter-out %.def,$(CORE) $(CORE_HEADERS) $(GLUE_FILES) $(GLUE_HEADERS)) \
	csrc/python/gil/gil.c $(wildcard tests/c/*.[ch] tests/fuzz/*.[ch] tests/prove/*.c)
SOURCES := pygradc/core/build.py $(CORE) $(CORE_HEADERS) $(GLUE_FILES) \
	$(GLUE_HEADERS) csrc/python/gil/gil.c
WARNINGS := -std=c11 -Wall -Wextra -Wconversion -Werror
SANITIZE := -g -O1 -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all
VERIFY := BUILD=verify INSTRUMENTS="$(SANITIZE) -DPG_VERIFY"

.PHONY: train test notebooks bench ctest ctest-aarch64 ctest-plain ctest-windows prove-powers verify valgrind pytest-asan \
	analyze clean-ctest fuzz fuzz-merge lint format docs docs-site dagre wheels clean

# Of what pyproject.toml declares from some version on, just that version.
define DECLARED
import pathlib, re
text = pathlib.Path('pyproject.toml').read_text(encoding='utf-8')
print(*sorted({f'{a}=={b}' for a, b in re.findall(r'[\x22]([\w-]+)>=([\d.]+)[\x22]', text)}), sep='\n')
endef
export DECLARED

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
OLDEST ?=

$(VENV)/installed: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
ifeq ($(OLDEST),)
	$(PIP_INSTALL) --upgrade setuptools
	$(PIP_INSTALL) -e '.[train,test]'
else
	$(BIN)/python -c "$$DECLARED" >$(VENV)/oldest
	$(PIP_INSTALL) -r $(VENV)/oldest
	$(PIP_INSTALL) --no-build-isolation -c $(VENV)/oldest -e '.[train,test]'
endif
	touch $@

# What was installed just now has been built; after a change only the extension is built anew.
$(VENV)/ready: $(VENV)/installed $(SOURCES)
	$(if $(filter $(VENV)/installed,$?),,$(BIN)/python setup.py --quiet build_ext --inplace)
	touch $@

# What an extra of pyproject.toml names, without building the package anew.
define EXTRA
import sys
from importlib.metadata import requires
print(*(need.split(';')[0] for need in requires('pygradc') if sys.argv[1] in need.split(';')[-1]))
endef
export EXTRA

$(VENV)/lint $(VENV)/docs $(VENV)/notebooks: $(VENV)/%: $(VENV)/ready
	$(PIP_INSTALL) $$($(BIN)/python -c "$$EXTRA" $*)
	touch $@

train: $(VENV)/ready
	$(BIN)/python -m pygradc train $(ARGS)

test: $(VENV)/ready
	$(BIN)/python -m pytest $(ARGS)

notebooks: $(VENV)/notebooks
	$(BIN)/python examples/notebooks/run.py $(ARGS)

bench: $(VENV)/ready
	$(BIN)/python bench/run.py $(ARGS)

# The C tests. Each way of building them has objects of its own; only what changed is compiled again.
BUILD ?= $(CC)
INSTRUMENTS ?= $(SANITIZE)
RUN ?=
EMULATOR ?=
EXE ?=
OBJECTS := $(patsubst %.c,build/$(BUILD)/%.o,$(CORE) $(wildcard tests/c/*.c) tests/fuzz/arithmetic.c)
HEADERS := $(CORE_HEADERS) $(wildcard tests/c/*.h tests/fuzz/*.h)

build/$(BUILD)/%.o: %.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(INSTRUMENTS) -ffp-contract=off -Icsrc -Itests/c -c $< -o $@

# The kernels unroll into very long functions: with every access checked, optimising them takes
# compilers a minute a file. They are as checked without.
ifneq ($(findstring -fsanitize,$(INSTRUMENTS)),)
build/$(BUILD)/csrc/replay/lanes_%.o: override INSTRUMENTS += -O0
endif

build/$(BUILD)/test_core$(EXE): $(OBJECTS)
	$(CC) $(INSTRUMENTS) $^ -lm -lpthread -o $@

# Fuzz targets: tests/fuzz/README.md. FUZZ_SECONDS is for all of them together.
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := program part graph
FUZZ_FLAGS := $(WARNINGS) -g -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=off \
	-DPG_VERIFY
FUZZ_SHARED := $(CORE) tests/c/testing.c \
	$(filter-out tests/fuzz/fuzz_%.c tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c))
FUZZ_BINARIES := $(FUZZ_TARGETS:%=build/fuzz/%)

# The fuzz targets as ordinary programs: they run files.
REPLAYED := $(FUZZ_TARGETS:%=build/$(BUILD)/replay_%$(EXE))

$(REPLAYED): build/$(BUILD)/replay_%$(EXE): build/$(BUILD)/tests/fuzz/fuzz_%.o build/$(BUILD)/tests/fuzz/replay.o \
		$(FUZZ_SHARED:%.c=build/$(BUILD)/%.o)
	$(CC) $(INSTRUMENTS) $^ -lm -lpthread -o $@

ctest:
	$(MAKE) -s -j2 build/$(BUILD)/test_core$(EXE) $(REPLAYED)
	$(EMULATOR) build/$(BUILD)/test_core$(EXE) $(RUN)
	for target in $(FUZZ_TARGETS); do \
		$(EMULATOR) build/$(BUILD)/replay_$$target$(EXE) tests/fuzz/corpus/$$target || exit 1; \
	done

verify:
	$(MAKE) -s ctest $(VERIFY)

# What ends within a minute there, where everything takes thirty times as long.
MEMCHECK := valgrind -q --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=all
valgrind: RUN := failure starved custom pack -pack/a_million record bulk save/programs sweep/ \
	-sweep/long runs/shapes runs/only replay/single replay/no_rows replay/each_op
valgrind:
	$(MAKE) -s -j2 build/valgrind/test_core BUILD=valgrind INSTRUMENTS="-g -O1"
	$(MEMCHECK) build/valgrind/test_core $(RUN)

# The machine code of that processor beside its kernels: Debian's packages qemu-user,
# gcc-aarch64-linux-gnu and libc6-dev-arm64-cross.
ctest-aarch64: RUN := custom derive powers record replay runs take -runs/random_functions
ctest-aarch64:
	$(MAKE) -s ctest BUILD=aarch64 CC=aarch64-linux-gnu-gcc INSTRUMENTS="-g -O1" \
	    EMULATOR="qemu-aarch64 -L /usr/aarch64-linux-gnu" RUN="$(RUN)"

# As a compiler without extensions takes it: C11, one double a vector, no machine code, no crews.
ctest-plain: RUN ?= -runs/random_functions
ctest-plain:
	$(MAKE) -s ctest BUILD=plain INSTRUMENTS="-pedantic -g -O1 -DPG_PLAIN -Wno-maybe-uninitialized" RUN="$(RUN)"

# The same on Windows, whose `long` has 32 bits: what MSVC would make of it, as far as another
# compiler can tell. Debian's packages gcc-mingw-w64-x86-64 and wine64; without wine it is built only.
WINE ?= $(firstword $(shell command -v wine64 wine) $(wildcard /usr/lib/wine/wine64))
ctest-windows: RUN := custom derive powers record replay runs save take -runs/random_functions -save/every -save/random
ctest-windows:
	$(MAKE) -s ctest BUILD=windows CC=x86_64-w64-mingw32-gcc EXE=.exe RUN="$(RUN)" \
	    INSTRUMENTS="-O1 -DPG_PLAIN -static -Wno-float-conversion -Wno-maybe-uninitialized" \
	    EMULATOR="$(if $(WINE),WINEDEBUG=-all $(WINE),echo no wine: not run:)"

# powers.h must have pow's bits. EXPONENTS= which; as optimised as the extension is.
POINTS ?= 10000000
EXPONENTS ?=
PROVED := tests/prove/powers.c tests/c/agreement.c csrc/ops/powers.c

build/$(BUILD)/prove_powers: $(PROVED) tests/c/agreement.h csrc/ops/powers.h csrc/base/portability.h
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -Icsrc -Itests/c \
	    $(PROVED) -lm -o $@

prove-powers: build/$(BUILD)/prove_powers
	$(EMULATOR) $< $(POINTS) $(EXPONENTS)

# The extension, linked from the objects of `make verify`, in a copy of the tree: the other one stays
# as it is. Children of the tests inherit the sanitizers' runtime, so leaks are looked for by
# tests/leaks.py, at the end of pytest itself.
#
# Marked unsanitized, and left out: tests of digits (sweeps over thousands of operands, whole
# trainings, output beside plain Python's), documents, sources, benches, and of what another program
# says (a compiler, mypy, pip). Other tests reach the same memory of ours, and under the instruments
# all this takes many times as long.
# Left out too: what is marked memory, or forks.
TREE := build/$(BUILD)/tree
GLUE := $(GLUE_FILES:%.c=build/$(BUILD)/%.o) build/$(BUILD)/_core.o
PYTHON_HEADERS = $(call python_says,get_paths()["include"])
runtime = $(shell $(CC) -print-file-name=lib$(1).so)
python_says = $(shell $(BIN)/python -c 'import sysconfig as s; print(s.$(1))')

build/$(BUILD)/_core.c: csrc/pygradc.h pygradc/core/build.py $(VENV)/ready
	@mkdir -p $(@D)
	$(BIN)/python -c "import runpy; runpy.run_path('pygradc/core/build.py')['ffi'].emit_c_code('$@')"

build/$(BUILD)/_core.o: build/$(BUILD)/_core.c
	$(CC) $(INSTRUMENTS) -Icsrc -I$(PYTHON_HEADERS) -c $< -o $@

build/$(BUILD)/csrc/python/%.o: csrc/python/%.c $(HEADERS) $(GLUE_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(WARNINGS) $(INSTRUMENTS) -ffp-contract=off -Icsrc \
	    -isystem $(PYTHON_HEADERS) -c $< -o $@

.PHONY: $(TREE)
$(TREE): $(filter build/$(BUILD)/csrc/%,$(OBJECTS)) $(GLUE)
	rm -rf $(TREE) && mkdir -p $(TREE)
	cp -r Makefile README.md CHANGELOG.md LICENSE MANIFEST.in .clang-format pyproject.toml setup.py \
	    pygradc csrc tests docs examples bench $(TREE)
	rm -f $(TREE)/pygradc/_core*.so
	$(CC) $(INSTRUMENTS) -shared $^ -lm -o $(TREE)/pygradc/_core$(call python_says,get_config_var("EXT_SUFFIX"))

pytest-asan: $(VENV)/ready
	$(MAKE) -s -j2 build/verify/tree $(VERIFY)
	cd build/verify/tree && LD_PRELOAD="$(call runtime,asan) $(call runtime,ubsan)" \
	    ASAN_OPTIONS=detect_leaks=1:leak_check_at_exit=0:allocator_may_return_null=1 \
	    PYTHONMALLOC=malloc PYTHONPATH=tests \
	    $(abspath $(BIN))/python -m pytest -p leaks -p no:cacheprovider \
	    -m "not memory and not unsanitized and not forks" $(ARGS)

clean-ctest:
	rm -rf build/$(BUILD)

# The lanes' kernels have one way through them, and take clang minutes with counters and -O1.
build/fuzz/csrc/replay/lanes_%.o: csrc/replay/lanes_%.c $(HEADERS)
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

STUBTEST := --mypy-config-file pyproject.toml --concise --ignore-disjoint-bases \
	--allowlist tests/typing/stubtest.txt --ignore-unused-allowlist

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest $(STUBTEST) pygradc._core pygradc.functions
	@if $(BIN)/pyright --version >/dev/null 2>&1; then $(BIN)/pyright --pythonpath $(BIN)/python; \
	else echo "pyright can't run here (it needs Node): its types are unchecked"; fi
	for cc in $$(command -v gcc clang || echo $(CC)); do for file in $(CORE) $(GLUE_FILES) csrc/python/gil/gil.c; do \
	    $$cc $(WARNINGS) -O2 -fsyntax-only -Icsrc -isystem $(PYTHON_HEADERS) $$file || exit 1; \
	done; done

# PYTHONS= which.
PYTHONS ?=
wheels:
	.ci/wheels $(PYTHONS)

analyze:
	cppcheck -q --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
	    --max-configs=1 --suppressions-list=.cppcheck -Icsrc $(filter-out csrc/replay/lanes_%,$(CORE))

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

docs: $(VENV)/ready
	$(BIN)/python docs/generate.py

# A warning is an error: of a link or an anchor that leads nowhere, a page outside the navigation.
docs-site: $(VENV)/docs
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/site

# What lays out the graphs of pygradc/viewing: fetched to update it, and kept among the sources.
DAGRE := @dagrejs/dagre@3.1.3
DAGRE_SHA256 := 54a503e346f93ca0bb10abe7999587e037262935687aca45eb4e4b0f64bbb578
ASSETS := pygradc/viewing/assets

dagre:
	rm -rf build/dagre && mkdir -p build/dagre
	cd build/dagre && npm pack --silent $(DAGRE) && tar xzf *.tgz
	echo "$(DAGRE_SHA256)  build/dagre/package/dist/dagre.min.js" | sha256sum -c --quiet
	cp build/dagre/package/dist/dagre.min.js $(ASSETS)/dagre.min.js
	cp build/dagre/package/LICENSE $(ASSETS)/dagre.LICENSE.txt

clean:
	rm -rf build dist *.egg-info $(VENV) pygradc/*.so
