"""Ways to ask a Value something, as people write them: never another answer in silence.

Each idiom is tried eagerly, and recorded: asked of an input, and asked of a parameter that is set
after the recording. What plain Python answers, the same idiom on pygradc.reference without a
recording, is right. A recording gives the same numbers and gradients for each row, or raises an
error that names the line here; it may not fail where it isn't asked.
"""

# ruff: noqa: SIM201, SIM300, UP031 - in the forms that people use
from __future__ import annotations

import array
import bisect
import cmath
import collections
import copy
import decimal
import enum
import fractions
import functools
import heapq
import inspect
import itertools
import json
import math
import numbers
import operator
import pickle
import random
import statistics
import string
import struct
import textwrap
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import TraceError, reference
from pygradc.recorded.tracing import Condition


def plain_where(condition: Any, a: Any, b: Any) -> Any:
    chosen = a if condition else b
    return chosen if isinstance(chosen, reference.Value) else reference.Value(chosen)


PLAIN = SimpleNamespace(
    Value=reference.Value,
    where=plain_where,
    detach=lambda v: reference.Value(v.data),
    maximum=lambda a, b: a.maximum(b),
    minimum=lambda a, b: a.minimum(b),
)
OURS = SimpleNamespace(
    Value=pygradc.Value,
    where=pygradc.where,
    detach=pygradc.detach,
    maximum=pygradc.maximum,
    minimum=pygradc.minimum,
)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Box:
    """Somebody's own class, which compares with what it holds."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> Any:
        return self.held == other

    __hash__ = object.__hash__


def matched(v: Any) -> float:
    """What `match` with literals does."""
    for literal, answer in ((0, 10.0), (1, 20.0), (2.0, 30.0)):
        if v == literal:
            return answer
    return 40.0


def clamped(v: Any) -> Any:
    if v < 0:
        return v * 0.0
    elif v > 1:
        return v * 0.0 + 1.0
    return v


def halved_until_small(v: Any) -> Any:
    while abs(v) > 1.0:
        v = v * 0.5
    return v


def set_and_read(v: Any) -> Any:
    v.data = 0.25
    return v * 2


def add_in_place(v: Any) -> Any:
    v.data += 1.0
    return v * 2


def attribute(v: Any) -> Any:
    v.seen = True
    return v * (2.0 if v.seen else 3.0)


def cached(v: Any) -> Any:
    @functools.lru_cache
    def twice(u: Any) -> Any:
        return u * 2

    return twice(v) + twice(v)


def filled(v: Any) -> Any:
    out = np.zeros(2)
    out[0] = v * v
    return v * out[0]


def put_in_objects(v: Any) -> Any:
    out = np.zeros(2, dtype=object)
    out[0] = v * v
    return out.sum()


def raised(v: Any) -> Any:
    if not v > 0:
        raise ValueError("negative")
    return v


def asserted(v: Any) -> Any:
    assert v != 0.0
    return v * 2


def stepped(v: Any) -> Any:
    (v * v).backward()
    return v * v.grad


Idiom = Callable[[Any, Any, Any], Any]

# n: the engine; v: who is asked; u: another Value
IDIOMS: dict[str, Idiom] = {
    # arithmetic
    "v + 1": lambda n, v, u: v + 1,
    "1 - v": lambda n, v, u: 1 - v,
    "v * u": lambda n, v, u: v * u,
    "u / v": lambda n, v, u: u / v,
    "v ** 2": lambda n, v, u: v**2,
    "2 ** v": lambda n, v, u: 2**v,
    "-v": lambda n, v, u: -v,
    "+v": lambda n, v, u: +v * 1,
    "abs": lambda n, v, u: abs(v),
    "v // 2": lambda n, v, u: v // 2,
    "v % 2": lambda n, v, u: v % 2,
    "divmod": lambda n, v, u: divmod(v, 2)[0],
    "pow": lambda n, v, u: pow(v, 3),
    "pow with a modulus": lambda n, v, u: pow(v, 3, 5),
    "augmented": lambda n, v, u: functools.reduce(operator.iadd, [v, u, 1.0]),
    "v @ u": lambda n, v, u: v @ u,
    "v << 1": lambda n, v, u: v << 1,
    "v & 1": lambda n, v, u: v & 1,
    "~v": lambda n, v, u: ~v,
    "sum": lambda n, v, u: sum([v, u, 2.0]),
    "sum of bools": lambda n, v, u: v * sum(1 for c in (v, u) if c > 1),
    "math.prod": lambda n, v, u: math.prod([v, u, 2.0]),
    "list * v": lambda n, v, u: len([1] * v),
    "numpy scalar * v": lambda n, v, u: np.float64(2.0) * v,
    "v * numpy scalar": lambda n, v, u: v * np.float32(2.0),
    "fraction": lambda n, v, u: v * fractions.Fraction(1, 2),
    "decimal": lambda n, v, u: v * decimal.Decimal(2),
    "exp": lambda n, v, u: v.exp() + v.tanh(),
    # comparisons
    "if v > 0": lambda n, v, u: v * 2 if v > 0 else v * 3,
    "if 0 < v": lambda n, v, u: v * 2 if 0 < v else v * 3,
    "if v >= u": lambda n, v, u: v * 2 if v >= u else u,
    "if 0 < v < 1": lambda n, v, u: v * 2 if 0 < v < 1.75 else v * 3,
    "if not v > 0": lambda n, v, u: v * 2 if not v > 0 else v * 3,
    "and": lambda n, v, u: v * 2 if v > 0 and v < 1.75 else v * 3,
    "or": lambda n, v, u: v * 2 if v < 0 or v > 1.75 else v * 3,
    "elif": lambda n, v, u: clamped(v),
    "while": lambda n, v, u: halved_until_small(v),
    "assert": lambda n, v, u: asserted(v),
    "raise": lambda n, v, u: raised(v),
    "any": lambda n, v, u: v * any(c > 1 for c in (v, u)),
    "all": lambda n, v, u: v * all(c > 1 for c in (v, u)),
    "filter": lambda n, v, u: sum(filter(lambda c: c > 1, [v, u, v * 2])),
    "takewhile": lambda n, v, u: v * len(list(itertools.takewhile(lambda c: c > 1, [u, v, u]))),
    "v < 'text'": lambda n, v, u: v < "text",
    "v < None": lambda n, v, u: v < None,
    # == and !=
    "if v == 1": lambda n, v, u: v * 2 if v == 1 else v * 3,
    "if v != 1": lambda n, v, u: v * 2 if v != 1 else v * 3,
    "if 1.0 == v": lambda n, v, u: v * 2 if 1.0 == v else v * 3,
    "if not v == 1": lambda n, v, u: v * 2 if not v == 1 else v * 3,
    "v == True": lambda n, v, u: v * 2 if v == True else v * 3,  # noqa: E712
    "v == None": lambda n, v, u: v * 2 if v == None else v * 3,  # noqa: E711
    "v == 'a'": lambda n, v, u: v * 2 if v == "a" else v * 3,
    "v == u": lambda n, v, u: v * 2 if v == u else v * 3,
    "v != u": lambda n, v, u: v * 2 if v != u else v * 3,
    "v == v": lambda n, v, u: v * 2 if v == v else v * 3,
    "v != v": lambda n, v, u: v * 2 if v != v else v * 3,
    "v is u": lambda n, v, u: v * 2 if v is u else v * 3,
    "v == nan": lambda n, v, u: n.where(v == math.nan, v * 2, v * 3),
    "v == -0.0": lambda n, v, u: n.where(v == -0.0, v * 2, v * 3),
    "v == 10**400": lambda n, v, u: n.where(v == 10**400, v * 2, v * 3),
    "v == 2**53 + 1": lambda n, v, u: n.where(v + 2.0**53 == 2**53 + 1, v * 2, v * 3),
    "v == np.float64": lambda n, v, u: v * 2 if v == np.float64(1.0) else v * 3,
    "np.float64 == v": lambda n, v, u: v * 2 if np.float64(1.0) == v else v * 3,
    "np.int32 == v": lambda n, v, u: v * 2 if np.int32(1) == v else v * 3,
    "np.int32 != v": lambda n, v, u: v * 2 if np.int32(1) != v else v * 3,
    "0-d array == v": lambda n, v, u: v * 2 if np.array(1.0) == v else v * 3,
    "v == 0-d array": lambda n, v, u: v * 2 if v == np.array(1.0) else v * 3,
    "v == fraction": lambda n, v, u: v * 2 if v == fractions.Fraction(1, 1) else v * 3,
    "fraction == v": lambda n, v, u: v * 2 if fractions.Fraction(1, 2) == v else v * 3,
    "v == a third": lambda n, v, u: n.where(v / 3 == fractions.Fraction(1, 3), v * 2, v * 3),
    "v == an enum": lambda n, v, u: v * 2 if v == Level.HIGH else v * 3,
    "v == 1j": lambda n, v, u: v * 2 if v == 1j else v * 3,
    "a box == v": lambda n, v, u: v * 2 if Box(1.0) == v else v * 3,
    "v == a box": lambda n, v, u: v * 2 if v == Box(1.0) else v * 3,
    "dictionary of answers": lambda n, v, u: v * {True: 2.0, False: 3.0}[v == 1],
    "match": lambda n, v, u: v * matched(v),
    "operator.eq": lambda n, v, u: v * 2 if operator.eq(v, 1) else v * 3,
    "array == v": lambda n, v, u: v * int((np.array([0.5, 1.0, 2.0]) == v).sum()),
    "array of v == 1": lambda n, v, u: v * int((np.array([v, u]) == 1.0).sum()),
    "array_equal": lambda n, v, u: v * 2 if np.array_equal([v, u], [1.0, 1.25]) else v * 3,
    "[v] == [1.0]": lambda n, v, u: v * 2 if [v] == [1.0] else v * 3,
    "(v, 1) == (v, 1)": lambda n, v, u: v * 2 if (v, 1) == (v, 1) else v * 3,
    "{'a': v} == {'a': 1}": lambda n, v, u: v * 2 if {"a": v} == {"a": 1} else v * 3,
    # containers
    "in a tuple": lambda n, v, u: v * 2 if v in (1, 2) else v * 3,
    "in a list of Values": lambda n, v, u: v * 2 if v in [u, v] else v * 3,
    "not in a tuple": lambda n, v, u: v * 2 if v not in (1, 2) else v * 3,
    "1.0 in [v]": lambda n, v, u: v * 2 if 1.0 in [u, v] else v * 3,
    "in a set": lambda n, v, u: v * 2 if v in {1.0, 2.0} else v * 3,
    "in a dict": lambda n, v, u: v * 2 if v in {1.0: "a"} else v * 3,
    "in a range": lambda n, v, u: v * 2 if v in range(3) else v * 3,
    "a set of Values": lambda n, v, u: v * len({v, u, v}),
    "a dict of Values": lambda n, v, u: v * {v: 2.0, u: 3.0}[v],
    "dict.get": lambda n, v, u: v * {1.0: 2.0}.get(v, 3.0),
    "Counter": lambda n, v, u: v * collections.Counter([v, u, v])[v],
    "index": lambda n, v, u: v * [u, v].index(v),
    "index of a number": lambda n, v, u: v * (1 + [v, 1.0, 0.25].index(1.0)),
    "count": lambda n, v, u: v * [1.0, 2.0, v].count(1.0),
    "remove": lambda n, v, u: sum((a := [u, v, u * 2], a.remove(v), a)[2]),
    "max": lambda n, v, u: max(v, u) * 2,
    "min": lambda n, v, u: min([v, u]) * 2,
    "max with a number": lambda n, v, u: max(v, 0.75) * v,
    "max by key": lambda n, v, u: max([v, u], key=lambda c: c.data) * 2,
    "sorted": lambda n, v, u: sorted([v, u, v * v])[0] * 2,
    "sorted by key": lambda n, v, u: sorted([v, u], key=abs)[0] * 2,
    "bisect": lambda n, v, u: v * bisect.bisect([0.0, 1.0, 2.0], v),
    "heapq": lambda n, v, u: heapq.nlargest(1, [v, u])[0] * 2,
    "groupby": lambda n, v, u: v * len(list(itertools.groupby([v, 1.0, 1.0]))),
    "where ==": lambda n, v, u: n.where(v == 1, v * 2, v * 3),
    "where !=": lambda n, v, u: n.where(v != 1, v * 2, v * 3),
    "where >": lambda n, v, u: n.where(v > u, v * 2, v * 3),
    "where of a bool": lambda n, v, u: n.where(bool(v > 0), v * 2, v * 3),
    "maximum": lambda n, v, u: n.maximum(v, u) + n.minimum(v, u) * 2,
    "detach": lambda n, v, u: n.detach(v) * v,
    # as a number
    "float": lambda n, v, u: v * float(v),
    "int": lambda n, v, u: v * int(v),
    "bool": lambda n, v, u: v * 2 if v else v * 3,
    "not": lambda n, v, u: v * 2 if not v else v * 3,
    "round": lambda n, v, u: v * round(v),
    "round to digits": lambda n, v, u: v * round(v, 1),
    "complex": lambda n, v, u: v * complex(v).real,
    "trunc": lambda n, v, u: v * math.trunc(v),
    "floor": lambda n, v, u: v * math.floor(v),
    "ceil": lambda n, v, u: v * math.ceil(v),
    "an index": lambda n, v, u: v * [1.0, 2.0, 3.0][v],
    "a slice": lambda n, v, u: v * sum([1.0, 2.0, 3.0][:v]),
    "range": lambda n, v, u: sum((v for _ in range(v)), v),
    "operator.index": lambda n, v, u: v * operator.index(v),
    "an array's index": lambda n, v, u: v * np.arange(5.0)[v],
    "chr": lambda n, v, u: v * len(chr(v)),
    "math.exp": lambda n, v, u: v * math.exp(v),
    "math.sqrt": lambda n, v, u: v * math.sqrt(v),
    "math.log": lambda n, v, u: v * math.log(v),
    "math.hypot": lambda n, v, u: v * math.hypot(v, 1.0),
    "math.pow": lambda n, v, u: v * math.pow(v, 2),
    "math.isclose": lambda n, v, u: v * 2 if math.isclose(v, 1.0) else v * 3,
    "math.isnan": lambda n, v, u: v * 2 if math.isnan(v) else v * 3,
    "math.copysign": lambda n, v, u: v * math.copysign(1.0, v),
    "math.fsum": lambda n, v, u: v * math.fsum([v, u]),
    "math.dist": lambda n, v, u: v * math.dist([v], [u]),
    "cmath.exp": lambda n, v, u: v * cmath.exp(v).real,
    "statistics.fmean": lambda n, v, u: v * statistics.fmean([v, u]),
    "statistics.mean": lambda n, v, u: v * statistics.mean([v, u]),
    "statistics.median": lambda n, v, u: statistics.median([v, u, v * v]) * 2,
    "statistics.pstdev": lambda n, v, u: v * statistics.pstdev([v, u]),
    "random.gauss": lambda n, v, u: v * random.Random(1).gauss(v, 1.0) / v,
    "random.uniform": lambda n, v, u: random.Random(1).uniform(v, 2.0) * v,
    "random.choices": lambda n, v, u: v * random.Random(1).choices([2.0, 3.0], [v * v, 1.0])[0],
    "decimal.Decimal": lambda n, v, u: v * float(decimal.Decimal(v)),
    "fractions.Fraction": lambda n, v, u: v * float(fractions.Fraction(v)),
    "struct": lambda n, v, u: v * struct.unpack("d", struct.pack("d", v))[0],
    "array.array": lambda n, v, u: v * array.array("d", [v])[0],
    "json": lambda n, v, u: v * json.loads(json.dumps(v)),
    "as_integer_ratio": lambda n, v, u: v * v.as_integer_ratio()[0],
    "is_integer": lambda n, v, u: v * 2 if v.is_integer() else v * 3,
    "hex": lambda n, v, u: v * len(v.hex()),
    # numpy
    "np.exp": lambda n, v, u: np.exp(np.array([v, u])).sum(),
    "np.sum": lambda n, v, u: np.sum([v, u]) * 2,
    "np.mean": lambda n, v, u: np.mean([v, u]) * 2,
    "np.dot": lambda n, v, u: np.dot([v, u], [2.0, 3.0]),
    "np.max": lambda n, v, u: np.max([v, u]) * 2,
    "np.maximum": lambda n, v, u: np.maximum(np.array([v]), np.array([u]))[0] * 2,
    "np.where": lambda n, v, u: np.where(np.array([v > 0]), v * 2, v * 3)[0],
    "np.where of an array": lambda n, v, u: np.where(np.array([v, u]) > 1, 2.0, 3.0).sum() * v,
    "np.argmax": lambda n, v, u: v * int(np.argmax([v, u])),
    "np.argsort": lambda n, v, u: v * int(np.argsort([v, u])[0]),
    "np.sort": lambda n, v, u: np.sort([v, u])[0] * 2,
    "np.median": lambda n, v, u: np.median([v, u, v * v]) * 2,
    "np.clip": lambda n, v, u: np.clip(np.array([v]), 0.0, 1.0)[0] * v,
    "np.sign": lambda n, v, u: v * np.sign(np.array([v]))[0],
    "np.any": lambda n, v, u: v * bool(np.any(np.array([v, u]) > 1.5)),
    "np.all": lambda n, v, u: v * bool(np.all([v > 0, u > 0])),
    "np.nonzero": lambda n, v, u: v * len(np.nonzero(np.array([v, u]))[0]),
    "np.isclose": lambda n, v, u: v * 2 if np.isclose(v, 1.0) else v * 3,
    "np.isnan": lambda n, v, u: v * 2 if np.isnan(v) else v * 3,
    "np.isin": lambda n, v, u: v * bool(np.isin(np.array([v]), [1.0, 2.0])[0]),
    "np.unique": lambda n, v, u: v * len(np.unique(np.array([v, u]))),
    "np.round": lambda n, v, u: np.round(np.array([v]))[0] * v,
    "np.floor": lambda n, v, u: np.floor(np.array([v]))[0] * v,
    "np.interp": lambda n, v, u: v * np.interp(v, [0.0, 4.0], [1.0, 2.0]),
    "np.polyval": lambda n, v, u: np.polyval([1.0, 2.0], v),
    "np.searchsorted": lambda n, v, u: v * int(np.searchsorted([0.0, 1.0], v)),
    "np.digitize": lambda n, v, u: v * int(np.digitize(v, [0.0, 1.0])),
    "np.histogram": lambda n, v, u: v * np.histogram([v, u], [0.0, 1.0, 4.0])[0][0],
    "np.float64": lambda n, v, u: v * np.float64(v),
    "np.array as floats": lambda n, v, u: v * np.array([v], dtype=float)[0],
    "np.asarray": lambda n, v, u: v * np.asarray(v, dtype=np.float64)[()],
    "astype": lambda n, v, u: v * np.array([v]).astype(float)[0],
    "astype int": lambda n, v, u: v * np.array([v]).astype(int)[0],
    "astype bool": lambda n, v, u: v * np.array([v * 0.0]).astype(bool)[0],
    "filling an array": lambda n, v, u: filled(v),
    "filling an array of objects": lambda n, v, u: put_in_objects(v),
    "np.full": lambda n, v, u: np.full(2, v).sum(),
    "np.zeros": lambda n, v, u: v * len(np.zeros(v)),
    "np.linspace": lambda n, v, u: v * np.linspace(0.0, v, 3)[1],
    "np.cumsum": lambda n, v, u: np.cumsum([v, u])[1] * 2,
    "np.linalg.norm": lambda n, v, u: np.linalg.norm([v, u]),
    "np.vectorize": lambda n, v, u: np.vectorize(lambda c: c * 2, otypes=[object])([v])[0],
    # as text
    "f-string": lambda n, v, u: v * len(f"{v:.2f}"),
    "f-string with a width": lambda n, v, u: v * len(f"{v:>12}"),
    "format": lambda n, v, u: v * len(format(v, ".1e")),
    "str.format": lambda n, v, u: v * len("{:.3g}".format(v * 100)),  # noqa: UP032
    "'%f'": lambda n, v, u: v * len("%f" % (v * 100)),
    "'%d'": lambda n, v, u: v * len("%d" % v),
    "'%x'": lambda n, v, u: v * len("%x" % v),
    "Template": lambda n, v, u: v if string.Template("$v").substitute(v=v) else u,
    "float(str)": lambda n, v, u: v * float(f"{v:.17g}"),
    # attributes
    "data": lambda n, v, u: v * v.data,
    "data in a helper": lambda n, v, u: v * (lambda c: c.data + 1.0)(v),
    "getattr": lambda n, v, u: v * getattr(v, "data"),  # noqa: B009
    "attrgetter": lambda n, v, u: v * operator.attrgetter("data")(v),
    "grad": lambda n, v, u: v * (1.0 + v.grad),
    "setting data": lambda n, v, u: set_and_read(v),
    "adding to data": lambda n, v, u: add_in_place(v),
    "setting grad": lambda n, v, u: (setattr(v, "grad", 0.0), v * 2)[1],
    "backward inside": lambda n, v, u: stepped(v),
    "_backward inside": lambda n, v, u: ((v * v)._backward(), v)[1],
    "_local_grads": lambda n, v, u: v * (v * v)._local_grads[0],
    "_prev": lambda n, v, u: v * len((v * u)._prev),
    "_children": lambda n, v, u: (v * u)._children[0] * 2,
    "_op": lambda n, v, u: v * len((v * u)._op),
    "an attribute": lambda n, v, u: attribute(v),
    "hasattr": lambda n, v, u: v * 2 if hasattr(v, "data_") else v * 3,
    "isinstance": lambda n, v, u: v * 2 if isinstance(v, n.Value) else v * 3,
    "isinstance float": lambda n, v, u: v * 2 if isinstance(v, (int, float)) else v * 3,
    "isinstance numbers.Real": lambda n, v, u: v * 2 if isinstance(v, numbers.Real) else v * 3,
    "type": lambda n, v, u: v * 2 if type(v) is n.Value else v * 3,
    "callable": lambda n, v, u: v * 2 if callable(v) else v * 3,
    "iter": lambda n, v, u: sum(v),
    "len": lambda n, v, u: v * len(v),
    "unpacking": lambda n, v, u: (lambda a, b: a + b)(*v),
    # copies
    "copy.copy": lambda n, v, u: v * copy.copy(v).data,
    "copy.deepcopy": lambda n, v, u: v * copy.deepcopy(v * u).data,
    "deepcopy of a dict": lambda n, v, u: v * copy.deepcopy({"v": [v]})["v"][0].data,
    "pickle": lambda n, v, u: v * pickle.loads(pickle.dumps(v)).data,
    "copy of a list": lambda n, v, u: copy.copy([v])[0] * 2,
    # the same object
    "lru_cache": lambda n, v, u: cached(v),
    "id": lambda n, v, u: v * (id(v) == id(v)),
    "hash": lambda n, v, u: v * (hash(v) == hash(v)),
    "reduce": lambda n, v, u: functools.reduce(lambda a, b: a if a > b else b, [v, u]) * 2,
    "partial": lambda n, v, u: functools.partial(operator.mul, v)(u),
    "Value of data": lambda n, v, u: n.Value(v.data) * v,
    "Value of a Value": lambda n, v, u: n.Value(v) * v,
    "Value of children": lambda n, v, u: n.Value(v.data * 2, (v,), (2.0,)),
}

# What pygradc takes, or refuses, otherwise than the reference: eager answers that aren't compared.
OTHERWISE = {"copy.deepcopy", "astype bool"}

POINTS = (2.0, -1.5, 0.5, 1.0, 3.0)


def settled(n: Any, result: Any) -> Any:
    """An answer as a Value or a number."""
    if isinstance(result, Condition):
        return n.where(result, 1.0, 0.0)
    if isinstance(result, (bool, np.bool_)):
        return float(result)
    return result


class Answer:
    """What an idiom gave at a point: a number and the gradients of v and u; or an error."""

    def __init__(self, engine: Any, idiom: Idiom, at: float) -> None:
        v, u = engine.Value(at), engine.Value(1.25)
        self.error: BaseException | None = None
        try:
            out = settled(engine, idiom(engine, v, u))
            if isinstance(out, engine.Value):
                v.grad = u.grad = 0.0
                out.backward()
                out = out.data
            self.numbers = [float(out), v.grad, u.grad]
        except Exception as error:
            self.error = error

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Answer)
        if self.error is not None or other.error is not None:
            return self.error is not None and other.error is not None
        return np.array_equal(self.numbers, other.numbers, equal_nan=True)

    def __repr__(self) -> str:
        return repr(self.error or self.numbers)


@functools.cache
def plain(name: str, at: float) -> Answer:
    return Answer(PLAIN, IDIOMS[name], at)


def line_of(idiom: Idiom) -> int:
    return idiom.__code__.co_firstlineno


def names_the_line(error: BaseException) -> bool:
    """Is it a TraceError that begins with a line of this file?"""
    return isinstance(error, TraceError) and str(error).startswith(f"{__file__}:")


def recorded(name: str, of_parameter: bool) -> list[tuple[Any, Answer]]:
    """For each point what a recording gave, and what is right."""
    v, u, w = pygradc.Value(POINTS[0]), pygradc.Value(1.25), pygradc.Value(1.0)

    @pygradc.compile
    def f(x: Any) -> Any:
        asked = v if of_parameter else x
        return settled(OURS, IDIOMS[name](OURS, asked, u)) * w + x * 0.0

    found: list[tuple[Any, Answer]] = []
    for at in POINTS:
        v.data, v.grad, u.grad = at, 0.0, 0.0
        x = pygradc.Value(7.0 if of_parameter else at)
        try:
            out = f(x)
            out.backward()
            found.append(([out.data, (v if of_parameter else x).grad, u.grad], plain(name, at)))
        except Exception as error:
            found.append((error, plain(name, at)))
    return found


def is_right_or_loud(ours: Any, right: Answer) -> bool:
    if isinstance(ours, BaseException):
        return names_the_line(ours) or right.error is not None
    return right.error is None and np.array_equal(ours, right.numbers, equal_nan=True)


@pytest.mark.parametrize("name", IDIOMS)
def test_an_idiom_is_answered_as_by_plain_python(name: str) -> None:
    for at in POINTS:
        ours, right = Answer(OURS, IDIOMS[name], at), plain(name, at)
        assert name in OTHERWISE or ours == right, (at, ours, right)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", IDIOMS)
@pytest.mark.parametrize("of_parameter", [False, True], ids=["input", "parameter"])
def test_a_recorded_idiom_is_right_or_loud(name: str, of_parameter: bool) -> None:
    for ours, right in recorded(name, of_parameter):
        assert is_right_or_loud(ours, right), (ours, right)


def test_there_are_enough_idioms_and_most_have_an_answer() -> None:
    assert len(IDIOMS) >= 120
    answered = [name for name in IDIOMS if plain(name, 2.0).error is None]
    assert len(answered) > 100
    right = [n for n in answered if not isinstance(recorded(n, False)[0][0], BaseException)]
    assert len(right) > 50


def test_the_comparison_notices_a_frozen_answer() -> None:
    """So that the tests above can fail."""
    frozen = [-3.0, 2.0, 0.0]
    assert not is_right_or_loud(frozen, plain("if v > 0", -1.5))
    assert not is_right_or_loud(ValueError("elsewhere"), plain("if v > 0", -1.5))
    assert not is_right_or_loud(frozen, plain("math.exp", 1.0))
    assert is_right_or_loud([4.0, 2.0, 0.0], plain("if v > 0", 2.0))


def test_each_idiom_is_on_a_line_of_its_own() -> None:
    """An error can name it."""
    lines = [line_of(idiom) for idiom in IDIOMS.values()]
    assert len(set(lines)) == len(lines)
    source = textwrap.dedent(inspect.getsource(IDIOMS["if v > 0"]))
    assert "v > 0" in source
