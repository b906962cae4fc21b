"""Write real programs and graphs as files that the fuzz targets begin with.

    python tests/fuzz/seeds.py FOLDER

gives FOLDER/program, FOLDER/part and FOLDER/graph. `make fuzz-merge FROM=FOLDER` takes from there
what adds to the corpora.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pygradc
from pygradc import Value
from pygradc._core import ffi, lib
from pygradc.core.scalar import core

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import programs, test_program_files, test_take

PASSES = (
    None,
    (),
    ("fold", "hoist"),
    ("fold", "hoist", "fuse", "layers", "share", "powers", "order"),
)


def code(program: Any) -> bytes:
    count = lib.pg_program_write(program._handle, ffi.NULL)
    room = ffi.new("uint8_t[]", count)
    lib.pg_program_write(program._handle, room)
    return bytes(ffi.buffer(room))


def recorded(case: programs.Case, passes: Any, math: str) -> bytes:
    compiled = pygradc.compile(case.function, passes=passes, math=math, errors="ignore")
    compiled(*case.rows(1)[0])
    return code(compiled.programs[0])


def all_programs() -> Iterator[bytes]:
    for make in test_program_files.PROGRAMS.values():
        yield code(make()[0])
    cases = [*programs.OP_CASES.values(), programs.mlp((2, 4, 3, 1)), programs.mlp((3, 8, 2))]
    cases += [programs.drawn(seed, 1 + seed % 12) for seed in range(120)]
    for i, case in enumerate(cases):
        yield recorded(case, PASSES[i % len(PASSES)], "fast" if i % 5 == 4 else "exact")
    yield from all_tables()


def all_tables() -> Iterator[bytes]:
    for passes in PASSES:
        for function in test_take.FUNCTIONS:
            compiled = pygradc.compile(function, passes=passes, errors="ignore")
            compiled(1, 0.5, 0.25)
            yield code(compiled.programs[0])


def all_parts() -> Iterator[bytes]:
    for seed in range(60):
        dice = random.Random(seed)
        leaves = [Value(dice.uniform(-2, 2)) for _ in range(3)]
        case = programs.drawn(seed, 1 + seed % 12)
        root = pygradc.sum(programs.as_list(case.function(*leaves)))
        root = Value(root.data, (root, leaves[0]), (0.5, dice.random())) * 2.0 ** root.tanh()
        root.backward()
        yield core.pack(core.collect(root))[0]


def all_graphs() -> Iterator[bytes]:
    for seed in range(40):
        yield random.Random(seed).randbytes(20 * (1 + seed % 20))


def main(folder: Path) -> None:
    targets = {"program": all_programs(), "part": all_parts(), "graph": all_graphs()}
    for target, seeds in targets.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for content in seeds:
            (folder / target / hashlib.sha1(content).hexdigest()).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
