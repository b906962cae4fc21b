"""A sterile copy of a program's class: private, rebuilt from its syntax tree, safe to run.

It has only the class's pure methods, in its own namespace with the class, `math` and the builtins
of the grammar: code that runs here can't change the program's state. The methods are instrumented:
conditions, and the choices of max, min and abs, record their outcomes, so that a method with an
unexecuted branch counts as not tried. Sets are ordered, so that sums are reproducible.
Invariant: every call terminates; loop iterations are counted.
Cost: several times that of the class itself.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from pygradc.compat._grammar import BUILTINS, Names, parameters
from pygradc.compat._source import Said

MOST_ROUNDS = 100_000  # conditions and iterations: in all trials of a class, or in a guard's call

Key = tuple[int, int]  # a function's line, and the index of a condition in it


class Endless(Exception):
    """A loop that seems not to terminate."""


class FrozenOrderedSet:
    """A frozenset that iterates in insertion order."""

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._members = dict.fromkeys(members)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: Any) -> bool:
        return member in self._members

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrozenOrderedSet):
            return NotImplemented
        return self._members.keys() == other._members.keys()

    __hash__ = None  # type: ignore[assignment]


class OrderedSet(FrozenOrderedSet):
    """A set that iterates in insertion order."""

    def add(self, member: Any) -> None:
        self._members[member] = None

    def update(self, *others: Iterable[Any]) -> None:
        for other in others:
            self._members.update(dict.fromkeys(other))

    def discard(self, member: Any) -> None:
        self._members.pop(member, None)

    def remove(self, member: Any) -> None:
        del self._members[member]

    def copy(self) -> OrderedSet:
        return OrderedSet(self)


SETS = {OrderedSet: set, FrozenOrderedSet: frozenset}


class Watch:
    """Records the outcomes of a class's conditions, and counts the iterations of its loops."""

    def __init__(self) -> None:
        self.seen: dict[Key, set[object]] = {}
        self.types: set[Key] = set()  # conditions on an operand's type
        self.rounds = 0

    def condition(self, key: Key, outcome: Any) -> Any:
        self.rounds += 1
        if self.rounds > MOST_ROUNDS:
            raise Endless
        self.seen[key].add(bool(outcome))
        return outcome

    def each(self, members: Iterable[Any]) -> Iterator[Any]:
        for member in members:
            self.rounds += 1
            if self.rounds > MOST_ROUNDS:
                raise Endless
            yield member

    def choice(self, key: Key, function: Any, *operands: Any) -> Any:
        """Call max, min or abs; record the choice, except of equal or more than two operands."""
        result = function(*operands)
        is_number = len(operands) == 1 and isinstance(result, (int, float))
        if is_number or (len(operands) == 2 and operands[0] != operands[1]):
            self.seen[key].add(result == operands[0])
        return result

    def untried(self, function: ast.FunctionDef, but_types: bool) -> bool:
        """Did one of its conditions have fewer than two outcomes?"""
        return any(
            len(outcomes) < 2
            for key, outcomes in self.seen.items()
            if key[0] == function.lineno and not (but_types and key in self.types)
        )


class Sterile:
    """The copy: `cls` is the class, `watch` the record of its outcomes."""

    def __init__(self, said: Said, pure: Collection[str], slots: ast.stmt | None) -> None:
        """Build the class with the members in `pure`. Takes over the class statement: its tree
        is changed.
        """
        statement = said.statement
        self.watch = Watch()
        body: list[ast.stmt] = [] if slots is None else [slots]
        done: dict[int, str] = {}
        for name, function in said.functions.items():
            if name not in pure:
                continue
            if function.lineno not in done:
                done[function.lineno] = name
                body.append(_Instrument(self.watch, function.lineno).visit(function))
                function.name = name
            else:
                body.append(_alias(name, done[function.lineno]))
        made = ast.ClassDef(
            name=statement.name, bases=[], keywords=[], body=body, decorator_list=[]
        )
        if "type_params" in ast.ClassDef._fields:  # from Python 3.12 on
            made.type_params = []  # type: ignore[attr-defined]
        tree = ast.fix_missing_locations(ast.Module([ast.copy_location(made, statement)], []))
        space = _namespace(said.names, self.watch)
        exec(compile(tree, "<the program's class>", "exec", dont_inherit=True), space)
        self.cls: Any = space[statement.name]


def _alias(name: str, other: str) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], ast.Name(other, ast.Load()))


def _namespace(names: Names, watch: Watch) -> dict[str, Any]:
    known = {name: getattr(builtins, name) for name in BUILTINS}
    known.update(set=OrderedSet, frozenset=FrozenOrderedSet)
    known.update(__build_class__=builtins.__build_class__, staticmethod=staticmethod)
    meanings = {
        alias: getattr(math, name, None) if name else math for alias, name in names.math.items()
    }
    tools = {CONDITION: watch.condition, EACH: watch.each, CHOICE: watch.choice}
    return {"__builtins__": known, "__name__": "sterile", **meanings, **tools}


CONDITION, EACH, CHOICE = (
    "?condition",
    "?each",
    "?choice",
)  # not identifiers, so no program can use them


class _Instrument(ast.NodeTransformer):
    """Instruments a method: its conditions, choices and loops report to the watch."""

    def __init__(self, watch: Watch, line: int) -> None:
        self.watch, self.line, self.count = watch, line, 0

    def _key(self) -> list[ast.expr]:
        key = self.line, self.count
        self.count += 1
        self.watch.seen.setdefault(key, set())
        self.last = key
        return [ast.Tuple([ast.Constant(part) for part in key], ast.Load())]

    def _condition(self, node: ast.expr) -> ast.expr:
        is_type = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            is_type = getattr(getattr(node.operand, "func", None), "id", "") == "isinstance"
        key = self._key()
        if is_type:
            self.watch.types.add(self.last)
        return ast.Call(ast.Name(CONDITION, ast.Load()), [*key, node], [])

    def _plain(self, node: Any) -> Any:
        return super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        for argument in parameters(node.args):
            argument.annotation = None
        return self._plain(node)  # type: ignore[no-any-return]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self._plain(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        return node  # the guard checks these again

    def with_test(self, node: Any) -> Any:
        node = self._plain(node)
        node.test = self._condition(node.test)
        return node

    visit_If = visit_IfExp = visit_While = with_test

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.BoolOp:
        node = self._plain(node)
        node.values = [self._condition(value) for value in node.values]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        return self._condition(self._plain(node))

    def visit_For(self, node: ast.For) -> ast.For:
        node = self._plain(node)
        node.iter = ast.Call(ast.Name(EACH, ast.Load()), [node.iter], [])
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        node = self._plain(node)
        node.iter = ast.Call(ast.Name(EACH, ast.Load()), [node.iter], [])
        node.ifs = [self._condition(test) for test in node.ifs]
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node = self._plain(node)
        name = getattr(node.func, "id", "")
        if name in ("max", "min", "abs"):
            return ast.Call(
                ast.Name(CHOICE, ast.Load()), [*self._key(), node.func, *node.args], node.keywords
            )
        return node

    def visit_Set(self, node: ast.Set) -> ast.Call:
        node = self._plain(node)
        return ast.Call(ast.Name("set", ast.Load()), [ast.List(node.elts, ast.Load())], [])

    def visit_SetComp(self, node: ast.SetComp) -> ast.Call:
        node = self._plain(node)
        members = ast.GeneratorExp(node.elt, node.generators)
        return ast.Call(ast.Name("set", ast.Load()), [members], [])
