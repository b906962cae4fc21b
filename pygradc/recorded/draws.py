"""Random numbers drawn while a function is recorded: each would be a constant of the program.

Draws are detected by comparing generator states before and after the trace: those of `random` and
`numpy.random`, and of generators that the function can name. This must be cheap beside a trace of
50 microseconds, but `random.getstate()` takes 20 and `numpy.random.get_state()` 100: so the state
words of these two Mersenne twisters are read directly from memory, once their address is verified.
Draws are located in the source: the first call, in the function or in one that it can call, of a
method of a generator that has changed.
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import functools
import linecache
import random
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from pygradc.core import lines
from pygradc.recorded.reach import Reached, attribute, codes, names, reach, variables


class RecordingWarning(UserWarning):
    """A recorded program may behave differently than its function suggests.

    >>> import random, warnings
    >>> import pygradc
    >>> noisy = pygradc.compile(lambda x: x + random.random())     # drawn once, for all calls
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     result = noisy(1.0)
    >>> [warning.category.__name__ for warning in caught]
    ['RecordingWarning']
    """


# ---- Has a generator been used? ------------------------------------------------------------------

_PYTHONS: Any = random._inst
_WORDS = 624  # of a Mersenne twister's state, which also has a position among them
_BYTES = 4 * (_WORDS + 1)


def _words_of_python() -> int | None:
    """The address of the position and the words after it; None if getstate disagrees."""
    address, size = id(_PYTHONS) + object.__basicsize__, type(_PYTHONS).__basicsize__
    if sys.implementation.name != "cpython" or size < object.__basicsize__ + _BYTES:
        return None
    found = (ctypes.c_uint32 * (_WORDS + 1)).from_address(address)
    words = _PYTHONS.getstate()[1]
    return address if (*found[1:], found[0]) == words else None


_python_words = _words_of_python()


def _state_of_python() -> Any:
    if _python_words is None:
        return _PYTHONS.getstate()
    return ctypes.string_at(_python_words, _BYTES), _PYTHONS.gauss_next


class _Numpys:
    """numpy.random, if it has been imported: importing it takes 10 ms, and no draw precedes it.

    Attributes:
        classes: the generator classes of numpy and of Python.
        generator: the global one; None until numpy.random is imported.
    """

    classes: tuple[type, ...] = (random.Random,)
    generator: Any = None

    def look(self) -> None:
        module: Any = sys.modules.get("numpy.random")
        if self.generator is None and hasattr(module, "mtrand"):
            numpys = (module.Generator, module.RandomState, module.BitGenerator)
            self.classes = (*self.classes, *numpys)
            self.generator = module.mtrand._rand

    def state(self) -> Any:
        """The global generator's state, without the cached second number of a normal pair."""
        self.look()
        if self.generator is None:
            return None
        bits = self.generator._bit_generator
        if type(bits) is sys.modules["numpy.random"].MT19937:
            return ctypes.string_at(_words_of(bits), _BYTES)
        return _state_of_bits(bits)

    def is_fresh(self) -> bool:
        """Has the global generator drawn nothing since it was made?"""
        module: Any = sys.modules["numpy.random"]
        place, fresh = (
            bits.state["state"].get("pos")
            for bits in (self.generator._bit_generator, module.MT19937(0))
        )
        return bool(place == fresh)


_numpys = _Numpys()


@functools.lru_cache(maxsize=4)
def _words_of(generator: Any) -> int:
    address: int = generator.ctypes.state_address
    return address


def _state_of_bits(generator: Any) -> str:
    with np.printoptions(threshold=sys.maxsize):
        return repr(generator.state)


def _state_of(generator: Any) -> Any:
    """The state of any other generator, in a form to compare; None if it has none."""
    try:
        if isinstance(generator, random.Random):
            return generator.getstate()
        if hasattr(generator, "get_state"):  # a RandomState
            return repr(sorted(generator.get_state(legacy=False).items(), key=str))
        return _state_of_bits(getattr(generator, "bit_generator", generator))
    except NotImplementedError:  # random.SystemRandom has no state
        return None


def _is_generator(x: object) -> bool:
    return isinstance(x, _numpys.classes)


# ---- Where was it used? --------------------------------------------------------------------------


_Node = Union[ast.Call, ast.Name, ast.Attribute, ast.Import, ast.ImportFrom]


@functools.lru_cache(maxsize=32)
def _nodes(source: str) -> tuple[_Node, ...]:
    kinds = (ast.Call, ast.Name, ast.Attribute, ast.Import, ast.ImportFrom)
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))


def _lines_of(code: CodeType) -> set[int]:
    if hasattr(code, "co_lines"):
        found = {line for one in codes(code) for _, _, line in one.co_lines()}
    else:
        import dis

        found = {line for one in codes(code) for _, line in dis.findlinestarts(one)}
    return {line for line in found if line is not None}


_UNKNOWN = object()


class _Scope:
    """Resolves the names in a function, as far as possible without running it."""

    def __init__(self, reached: Reached, source: str, static: Mapping[str, Any]) -> None:
        function, code = reached.function, reached.function.__code__
        self.variables = {**vars(builtins), **variables(function)}
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        for name in arguments:  # assume that keyword arguments are passed on under the same name
            self.variables[name] = static.get(name, _UNKNOWN)
        if reached.owner is not None and arguments:
            self.variables[arguments[0]] = reached.owner
        lines = _lines_of(code)
        inside = [node for node in _nodes(source) if node.lineno in lines]
        inside.sort(key=lambda node: node.lineno)
        # calls first; a function that is only named may be passed to another, to map or as a key
        self.calls = [node for node in inside if isinstance(node, ast.Call)]
        self.named = [node for node in inside if isinstance(node, (ast.Name, ast.Attribute))]
        for node in inside:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self._import(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name in node.names:
            if isinstance(node, ast.Import):
                path = name.name if name.asname else name.name.partition(".")[0]
                found = sys.modules.get(path, _UNKNOWN)
            else:
                found = getattr(sys.modules.get(node.module or ""), name.name, _UNKNOWN)
            self.variables[name.asname or name.name.partition(".")[0]] = found

    def target(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self.variables.get(node.id, _UNKNOWN)
        if isinstance(node, ast.Attribute):
            owner = self.target(node.value)
            if isinstance(owner, (ModuleType, type)) or _is_generator(owner):
                return getattr(owner, node.attr, _UNKNOWN)
            return attribute(owner, node.attr, _UNKNOWN)
        return _UNKNOWN


_NUMPYS_MODULES = ("numpy.random.mtrand", "numpy.random")
_NO_DRAWS = ("seed", "getstate", "setstate", "get_state", "set_state", "default_rng", "Random")


def _asks(target: Any, changed: list[Any]) -> bool:
    """Does calling it draw from a changed generator? A layer's class draws its parameters."""
    if getattr(target, "__name__", "") in _NO_DRAWS:
        return False
    owner = getattr(target, "__self__", None)
    if isinstance(owner, (ModuleType, type(None))):
        module = getattr(target, "__module__", None) or ""
        owner = _PYTHONS if module == "random" else None
        if module in _NUMPYS_MODULES:
            owner = _numpys.generator
        if module.startswith("pygradc.") and module.endswith(".nn"):
            owner = _PYTHONS if isinstance(target, type) else None
    return any(owner is generator for generator in changed)


class Found(NamedTuple):
    filename: str
    line: int
    text: str


def _find(functions: list[Reached], static: Mapping[str, Any], changed: list[Any]) -> Found:
    """The first call that draws; if none is found, the line of the function's definition."""
    for reached in functions:
        code = reached.function.__code__
        source = "".join(linecache.getlines(code.co_filename, reached.function.__globals__))
        try:
            scope = _Scope(reached, source, static)
        except (SyntaxError, ValueError, RecursionError):
            continue
        for node in (*scope.calls, *scope.named):
            asked = node.func if isinstance(node, ast.Call) else node
            if _asks(scope.target(asked), changed):
                text = ast.get_source_segment(source, node) or ""
                return Found(code.co_filename, node.lineno, " ".join(text.split()))
    own = functions[0].function.__code__ if functions else None
    if own is not None:
        return Found(own.co_filename, own.co_firstlineno, "")
    frame = lines.users_frame()
    return Found(frame.f_code.co_filename, frame.f_lineno, "") if frame else Found("?", 0, "")


# ---- The warning, once a function ----------------------------------------------------------------

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_told: weakref.WeakSet[Any] = weakref.WeakSet()


def _key(function: Any) -> Any:
    """What to warn of once: the function of a method, not each bound method."""
    found = getattr(function, "__func__", function)
    try:
        hash(weakref.ref(found))
    except TypeError:
        return type(found)
    return found


class _Before(NamedTuple):
    functions: list[Reached] | None  # None: not collected yet
    static: Mapping[str, Any]
    states: list[tuple[Any, Callable[[], Any], Any]]  # generator, probe, state
    numpys: Any  # state of numpy's global generator; None if numpy.random isn't imported


def begin(function: Callable[..., Any], static: Mapping[str, Any] = _NOTHING) -> _Before | None:
    """The generators' states, for `end`; None if the warning has been given already.

    Args:
        static: the keyword arguments of the recording.
    """
    if _key(function) in _told:
        return None
    _numpys.look()
    functions, generators, normal = _reach(function, static)
    probes = [(_PYTHONS, _state_of_python)]
    if normal and _numpys.generator is not None:
        probes.append((_numpys.generator, functools.partial(_state_of, _numpys.generator)))
    probes += [(g, functools.partial(_state_of, g)) for g in generators if not _is_global(g)]
    states = [(generator, probe, probe()) for generator, probe in probes]
    return _Before(functions, static, states, _numpys.state())


def end(function: Callable[..., Any], before: _Before | None) -> None:
    """Warn if random numbers were drawn since `begin`.

    Raises:
        RecordingWarning: if the warning filter turns warnings into errors.
    """
    if before is None:
        return
    changed = [generator for generator, probe, state in before.states if probe() != state]
    if _numpys_drew(before):
        changed.append(_numpys.generator)
    if changed:
        _told.add(_key(function))
        functions = before.functions
        if functions is None:
            functions, _ = reach(function, _is_generator)
        _warn(function, _find(functions, before.static, changed))


_Known = tuple[Optional[list[Reached]], list[Any], bool]  # functions, generators, any normal?
_unaided: weakref.WeakKeyDictionary[Any, tuple[Any, bool]] = weakref.WeakKeyDictionary()


def _reach(function: Any, static: Mapping[str, Any]) -> _Known:
    """The functions and generators that the function reaches; may any draw normal numbers?

    The walk takes as long as a short trace. So it is skipped, and the first result is None, if the
    function reached no generator before, and its own names still refer to the same objects.
    """
    is_short = isinstance(function, FunctionType) and not static
    stands_for = [*map(id, variables(function).values())] if is_short else None
    if is_short:
        known, normal = _unaided.get(function, (None, False))
        if known == stands_for:
            return None, [], normal
    functions, generators = reach(function, _is_generator, static.values())
    normal = _may_draw_normal(functions)
    if is_short and not generators:
        _unaided[function] = stands_for, normal
    return functions, generators, normal


def _numpys_drew(before: _Before) -> bool:
    after = _numpys.state()
    if before.numpys is None and after is not None:  # imported during the trace
        return not _numpys.is_fresh()
    return bool(after != before.numpys)


def _is_global(generator: Any) -> bool:
    return generator is _PYTHONS or generator is _numpys.generator


def _may_draw_normal(functions: list[Reached]) -> bool:
    return any(
        "normal" in name or name in ("randn", "lognormal")
        for reached in functions
        for name in names(reached.function)
    )


def _where(found: Found) -> str:
    if found.text:
        return f", in {found.text!r}"
    return ", or another thread did so meanwhile" if threading.active_count() > 1 else ""


def _warn(function: Any, found: Found) -> None:
    name = getattr(function, "__qualname__", type(function).__name__)
    warnings.warn_explicit(
        f"{found.filename}:{found.line}: {name} draws random numbers while it is recorded"
        f"{_where(found)}: they become constants of the program, the same in each replay. Instead, "
        "draw them outside and pass them as an argument (one row of an array for each row); make "
        "models outside, too",
        RecordingWarning,
        found.filename,
        found.line,
        module=getattr(function, "__module__", None) or "pygradc",
    )
