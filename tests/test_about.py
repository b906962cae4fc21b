"""Does `pygradc.info()` say what a bug report needs, and the command line the same?"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest

import pygradc
from pygradc.__main__ import main
from pygradc._core import lib

KEYS = [
    "pygradc", "Python", "NumPy", "cffi", "others", "platform", "compiler", "libm", "vectors",
    "native code", "threads",
]  # fmt: skip


def test_it_is_a_dict_of_strings_that_prints_as_lines() -> None:
    found = pygradc.info()
    assert list(found) == KEYS and all(type(x) is str and x for x in found.values())
    assert found["pygradc"] == pygradc.__version__ and found["NumPy"] == np.__version__
    assert found["Python"].startswith(platform.python_version())
    lines = repr(found).splitlines()
    assert str(found) == repr(found) and len(lines) == len(KEYS)
    for line, (key, value) in zip(lines, found.items()):
        assert line.startswith(f"{key} ") and line.endswith(f" {value}")


def test_the_core_is_described_as_it_is() -> None:
    found = pygradc.info()
    assert found["compiler"].split()[0] in ("gcc", "clang", "MSVC", "unknown")
    vectors = lib.pg_replay_levels() - lib.pg_has_native()
    assert (vectors > 1) == found["vectors"].startswith("AVX")
    assert found["native code"].startswith("yes") <= bool(lib.pg_has_native())
    usable, total = map(int, found["threads"].removesuffix(" processors").split(" of "))
    assert 1 <= usable <= total == os.cpu_count()


def test_other_libraries_are_named_if_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"scipy": "1.17.1", "tqdm": "4.70.1"}

    def version(name: str) -> str:
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)
    assert pygradc.info()["others"] == "scipy 1.17.1, tqdm 4.70.1"
    there.clear()
    assert pygradc.info()["others"] == "none"


@pytest.mark.once
@pytest.mark.skipif(not lib.pg_has_native(), reason="no native code here")
@pytest.mark.parametrize(
    ("wanted", "told"), [("0", "off: PYGRADC_NATIVE=0"), ("1", f"yes ({platform.machine()})")]
)
def test_native_code_may_be_off(wanted: str, told: str) -> None:
    code = "import pygradc; print(pygradc.info()['native code'])"
    environment = {**os.environ, "PYGRADC_NATIVE": wanted}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(told)


def test_the_command_line_prints_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert capsys.readouterr().out == f"{pygradc.info()}\n"
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pygradc.info()


def test_the_command_takes_no_other_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["info", "more"])
    assert stopped.value.code == 2
    assert "more" in capsys.readouterr().err
