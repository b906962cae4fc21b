"""The largest errors of csrc/ops/fastmath.h and of libm: `python bench/accuracy.py [--points N]`.

For each function this draws N arguments, by default ten million, always the same ones. Some are
spread over the whole range where the result is a finite number, both evenly and evenly over the bit
patterns (that is, about evenly in the logarithm, subnormals included); others lie densely where a
method changes or the argument or the result is subnormal. `PLACES` has the list.

Errors are in ulp: the distance from the true value to the result, in units of the last place that
a double near the true value has; 0.5 is the best that rounding can promise. mpmath is too slow for
all points, so that there are two steps:

 1. A screen: accuracy.c, compiled here with csrc/ops/fastmath.h, computes the errors at all points,
    with the C library's long double functions for truth.
 2. The CANDIDATES points where the screen saw the largest errors of ours, as many of the libm's,
    and SAMPLE points at random go to mpmath at 50 digits.

The errors printed are mpmath's, the largest over all points of step 2. "Screen off by" is the
largest difference, over the random sample, between an error by the screen and the same by mpmath: a
point that the screen left out can't have an error much more than this above the one printed.

mpmath is not among pygradc's dependencies: `pip install mpmath`.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

try:
    from mpmath import mp, mpf
except ImportError:
    sys.exit("bench/accuracy.py needs mpmath, which is not installed: pip install mpmath")

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-trapping-math", "-shared", "-fPIC")
SEED = 1
CHUNK = 1_000_000
CANDIDATES = 2_000
SAMPLE = 20_000
DIGITS = 50
TINY, HUGE = 5e-324, 1.7976931348623157e308  # the least and the largest positive double

Doubles = NDArray[np.float64]


# --- where to look --------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """An interval, and the share of a function's points that it gets."""

    share: float
    low: float
    high: float
    by_bits: bool = False  # evenly over the bit patterns; needs 0 < low
    signs: bool = False  # half of the points get a minus
    plus: float = 0.0  # what to add at the end: look around this number

    def draw(self, rng: np.random.Generator, count: int) -> Doubles:
        if self.by_bits:
            low, high = np.array([self.low, self.high]).view(np.int64)
            x = rng.integers(low, high, count, endpoint=True).view(np.float64)
        else:
            x = rng.uniform(self.low, self.high, count)
        if self.signs:
            x = np.where(rng.random(count) < 0.5, -x, x)
        return x + self.plus


PLACES = {
    "exp": (
        Place(0.3, -745.2, 709.78),
        Place(0.2, -40.0, 40.0),
        Place(0.2, -1.0, 1.0),
        Place(0.2, -745.2, -708.0),  # subnormal results
        Place(0.1, TINY, 700.0, by_bits=True, signs=True),
    ),
    "log": (
        Place(0.2, TINY, HUGE, by_bits=True),
        Place(0.1, TINY, 2.3e-308, by_bits=True),  # subnormal arguments
        Place(0.1, 0.0, 100.0),
        Place(0.2, 0.5, 2.0),
        Place(0.2, 1e-17, 0.5, by_bits=True, signs=True, plus=1.0),
        Place(0.1, 0.69, 0.73),  # sqrt(1/2)
        Place(0.1, 1.39, 1.44),  # sqrt(2)
    ),
    "tanh": (
        Place(0.2, -20.0, 20.0),
        Place(0.2, -3.0, 3.0),
        Place(0.2, -1.0, 1.0),
        Place(0.2, 0.5, 0.65, signs=True),  # the fraction in x ends at 0.55
        Place(0.2, TINY, 20.0, by_bits=True, signs=True),
    ),
    "sigmoid": (
        Place(0.2, -745.2, 40.0),
        Place(0.2, -40.0, 40.0),
        Place(0.3, -5.0, 5.0),
        Place(0.2, -745.2, -700.0),  # subnormal results
        Place(0.1, TINY, 700.0, by_bits=True, signs=True),
    ),
    "erf": (
        Place(0.2, -6.0, 6.0),
        Place(0.2, -2.0, 2.0),
        Place(0.2, -1.1, 1.1),
        Place(0.2, 0.8, 1.3, signs=True),  # the fraction in x ends at 1.1
        Place(0.2, TINY, 6.0, by_bits=True, signs=True),
    ),
    "expm1": (
        Place(0.2, -50.0, 709.78),
        Place(0.3, -3.0, 3.0),
        Place(0.3, 0.3, 0.45, signs=True),  # log(2) / 2
        Place(0.2, TINY, 700.0, by_bits=True, signs=True),
    ),
    "log1p": (
        Place(0.2, -1.0, 1.0),
        Place(0.2, TINY, HUGE, by_bits=True),
        Place(0.1, TINY, 0.9, by_bits=True, signs=True),
        Place(0.1, 1e-16, 0.5, by_bits=True, plus=-1.0),
        Place(0.2, -0.31, -0.27),  # sqrt(1/2) - 1
        Place(0.2, 0.39, 0.45),  # sqrt(2) - 1
    ),
    "atan": (
        Place(0.3, -3.0, 3.0),
        Place(0.2, 0.45, 0.6, signs=True),  # the reductions begin at 1/2 and 2
        Place(0.2, 1.8, 2.3, signs=True),
        Place(0.3, TINY, HUGE, by_bits=True, signs=True),
    ),
    "tan": (  # up to PG_TAN_REACH
        Place(0.2, -1.6, 1.6),
        Place(0.1, 0.7, 0.9, signs=True),  # pi/4, from where it is -cos / sin
        Place(0.1, 1e-17, 0.1, by_bits=True, signs=True, plus=1.5707963267948966),
        Place(0.2, -100.0, 100.0),
        Place(0.2, -1647099.3, 1647099.3),
        Place(0.2, TINY, 1647099.3, by_bits=True, signs=True),
    ),
}


def draw_chunks(function: str, points: int) -> Iterator[Doubles]:
    rng = np.random.default_rng(SEED)
    for start in range(0, points, CHUNK):
        count = min(CHUNK, points - start)
        yield np.concatenate(
            [place.draw(rng, round(place.share * count)) for place in PLACES[function]]
        )


# --- the screen -----------------------------------------------------------------------------


class Screen:
    """accuracy.c, compiled and loaded."""

    def __init__(self, directory: str) -> None:
        library = str(Path(directory) / "accuracy.so")
        compiler = (sysconfig.get_config_var("CC") or "cc").split()
        source = str(HERE / "accuracy.c")
        command = [*compiler, *FLAGS, "-I", str(CSRC), source, "-o", library, "-lm"]
        subprocess.run(command, check=True)
        self.ffi = FFI()
        for function in PLACES:
            for what in ("values", "errors"):
                self.ffi.cdef(f"void {function}_{what}(size_t, double *, double *, double *);")
        self.lib = self.ffi.dlopen(library)

    def _call(self, name: str, x: Doubles) -> tuple[Doubles, Doubles]:
        ours, libm = np.empty_like(x), np.empty_like(x)
        pointers = (self.ffi.from_buffer("double[]", array) for array in (x, ours, libm))
        getattr(self.lib, name)(len(x), *pointers)
        return ours, libm

    def values(self, function: str, x: Doubles) -> tuple[Doubles, Doubles]:
        """Results: ours and the libm's."""
        return self._call(f"{function}_values", x)

    def errors(self, function: str, x: Doubles) -> tuple[Doubles, Doubles]:
        """Errors in ulp: ours and the libm's."""
        return self._call(f"{function}_errors", x)


def worst(x: Doubles, errors: Doubles) -> Doubles:
    """The points with the largest errors; nan counts as largest."""
    return x[np.argsort(errors)[-CANDIDATES:]]


# --- the truth ------------------------------------------------------------------------------

TRUTH: dict[str, Callable[[Any], Any]] = {
    "exp": mp.exp,
    "log": mp.log,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "erf": mp.erf,
    "expm1": mp.expm1,
    "log1p": mp.log1p,
    "atan": mp.atan,
    "tan": mp.tan,
}


def error_in_ulp(y: float, truth: Any) -> float:
    exponent = max(mp.frexp(truth)[1], sys.float_info.min_exp)
    return float(mp.ldexp(abs(mpf(y) - truth), sys.float_info.mant_dig - exponent))


def true_errors(screen: Screen, function: str, x: Doubles) -> tuple[Doubles, Doubles]:
    """As Screen.errors, by mpmath."""
    truths = [TRUTH[function](mpf(a)) for a in x.tolist()]
    ours, libm = (
        np.array([error_in_ulp(y, truth) for y, truth in zip(values.tolist(), truths)])
        for values in screen.values(function, x)
    )
    return ours, libm


# --- the report -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    function: str
    points: int
    ours: float
    ours_at: float
    libm: float
    libm_at: float
    off_by: float

    def __str__(self) -> str:
        return (
            f"| {self.function} | {self.ours:.3f} | {self.ours_at!r} "
            f"| {self.libm:.3f} | {self.libm_at!r} | {self.off_by:.4f} | {self.points:,} |"
        )


HEADER = """\
| function | ours, ulp | at | libm, ulp | at | screen off by, ulp | points |
|---|---:|---:|---:|---:|---:|---:|"""


def measure(screen: Screen, function: str, points: int) -> Row:
    rng = np.random.default_rng(SEED)
    count, ours_worst, libm_worst, samples = 0, np.empty(0), np.empty(0), []
    for x in draw_chunks(function, points):
        ours, libm = screen.errors(function, x)
        count += len(x)
        ours_worst = np.append(ours_worst, worst(x, ours))
        libm_worst = np.append(libm_worst, worst(x, libm))
        samples.append(rng.choice(x, min(len(x), -(-SAMPLE * len(x) // points)), replace=False))
    sample = np.concatenate(samples)
    candidates = [
        worst(ours_worst, screen.errors(function, ours_worst)[0]),
        worst(libm_worst, screen.errors(function, libm_worst)[1]),
    ]
    x = np.concatenate([sample, *candidates])
    ours, libm = true_errors(screen, function, x)
    seen = screen.errors(function, sample)
    off_by = max(
        float(np.max(np.abs(screened - true[: len(sample)])))
        for screened, true in zip(seen, (ours, libm))
    )
    i, j = int(np.argmax(ours)), int(np.argmax(libm))
    return Row(function, count, ours[i], float(x[i]), libm[j], float(x[j]), off_by)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000_000, help="for each function")
    points = parser.parse_args().points
    mp.dps = DIGITS
    libm = " ".join(platform.libc_ver()).strip() or "the system's"
    print(f"libm: {libm}, {platform.machine()}\n\n{HEADER}")
    with tempfile.TemporaryDirectory() as directory:
        screen = Screen(directory)
        for function in PLACES:
            print(measure(screen, function, points), flush=True)


if __name__ == "__main__":
    main()
