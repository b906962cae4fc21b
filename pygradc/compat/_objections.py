"""Objections: uses of the class, elsewhere in a program, that pygradc's Value can't reproduce.

Value builds a node's children anew at each access, so a list or set of them may only be read:
iterated, measured, compared, copied. pygradc's operators don't call each other as the class's
methods do, so these must not be patched. The program can't derive from Value, its data aren't in a
`__dict__`, and an inner node has no Python object, and no address, unless the program references
it.
Invariant: executes no code of the program; a use that isn't known to be harmless is an objection.
Cost: a few walks over each tree.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from pygradc.compat._grammar import GRAPH, STATE, parameters
from pygradc.compat._source import CLASS, Module, children, modules, read_ahead

MADE_OF = STATE | {"backward", "__slots__"}
NUMERIC = ("add", "sub", "mul", "truediv", "pow")
PATCHED = {  # must not be assigned from outside, on any object
    *(f"__{r}{name}__" for name in NUMERIC for r in ("", "r")),
    *("__neg__", "__pos__", "__abs__", "__eq__", "__hash__", "__bool__", "__len__", "__init__"),
    *("__new__", "__class__", "__getattr__", "__getattribute__", "__setattr__"),
}
TEXT_OF_PATCHED = re.compile(rf"(?:.*\.)?(?:{'|'.join(sorted(PATCHED))})")
UNFINISHED = re.compile(r"__(?!\w+__$)")  # the beginning of a dunder name
CHANGERS = frozenset(
    ("add", "clear", "append", "pop", "remove", "discard", "update", "extend", "insert", "sort")
    + ("reverse", "difference_update", "intersection_update", "symmetric_difference_update")
    + ("setdefault", "popitem")
)
GETTERS = frozenset(("attrgetter", "getmembers", "getattr_static", "__getattribute__"))
SETTERS = frozenset(("setattr", "delattr", "__setattr__", "__delattr__"))
CENSUS = frozenset(  # their results depend on whether each node has a Python object
    ("get_objects", "get_referrers", "get_referents", "is_tracked", "getsizeof", "getrefcount")
    + ("getallocatedblocks", "tracemalloc", "get_count", "get_stats", "weakref")
)
NARROW = frozenset(("float16", "float32", "bfloat16", "longdouble", "float128"))
NARROW_SHORT = frozenset(("f4", "<f4", "f2", "<f2", "f", "e", "single", "half"))
# Callables that take a container and neither change nor keep it.
READERS = frozenset(
    ("len", "list", "set", "frozenset", "tuple", "sorted", "reversed", "enumerate", "zip", "iter")
    + ("map", "filter", "sum", "min", "max", "any", "all", "print", "repr", "str", "bool")
    + ("isinstance", "type")
)
ITERATING = frozenset(
    ("extend", "update", "extendleft", "union", "intersection", "difference", "issubset")
    + ("issuperset", "isdisjoint", "symmetric_difference", "difference_update", "fromkeys")
    + ("intersection_update", "symmetric_difference_update", "chain", "deque", "Counter", "copy")
    + ("deepcopy", "choice", "sample")
)
READING = frozenset(
    ("copy", "union", "intersection", "difference", "symmetric_difference", "issubset", "index")
    + ("issuperset", "isdisjoint", "count", "__len__", "__iter__", "__contains__")
)
OF_DICTS = frozenset(("items", "keys", "values", "get", "copy"))
MAKERS = frozenset(
    ("namedtuple", "NamedTuple", "TypedDict", "with_metaclass")
)  # make classes other than Value
HANDED_ON = frozenset(
    ("id", "vars", "exec", "eval", "setattr", "delattr")
)  # may only be called, not passed on
SHARED = (ast.Global, ast.Nonlocal)
REFLECTED = {  # defined by the program, these get the container as an operand
    *("__ror__", "__rand__", "__rxor__", "__contains__", "__iadd__", "__ior__", "__iand__"),
    *("__isub__", "__ixor__"),
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
ASKING = (
    ast.Attribute,
    ast.Import,
    ast.ImportFrom,
    ast.keyword,
    getattr(ast, "MatchClass", ast.keyword),
)


class Watched(NamedTuple):
    """The members of a class that the rest of the program must not touch.

    Args:
        graph: The nodes' attributes that hold the graph.
        changeable: Those of them that are lists or sets.
        called: Methods that other methods of the class call.
    """

    graph: Collection[str] = GRAPH
    changeable: Collection[str] = GRAPH
    called: Collection[str] = ()


def objections(watched: Watched, without: Collection[int]) -> Iterator[str]:
    """The objections in the program's modules: uses of nodes, and of the class from outside.

    Args:
        without: The ids of trees to skip, since pygradc's methods replace them.
    """
    read_ahead()
    names = aliases(modules)
    for module in modules:
        for line, what in _Reader(module, watched, names, without).objections():
            yield f"the program {what} on line {line} of {os.path.basename(module.path)}"


def objections_of(module: Module, watched: Watched) -> Iterator[tuple[int, str]]:
    """The objections in one module that is about to run: lines and descriptions."""
    names = aliases([*modules, module])
    return _Reader(module, watched, names, ()).objections()


# ---- Other names for the class -------------------------------------------------------------------


def aliases(among: Iterable[Module]) -> set[str]:
    """Names of variables or attributes that may be bound to the class: a fixpoint of bindings."""
    pairs = [pair for module in among for node in module.nodes for pair in _named(node)]
    found = {CLASS}
    while True:
        more = {name for name, value in pairs if name not in found and may_be_class(value, found)}
        if not more:
            return found
        found |= more


def _named(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement binds, each with the expression bound to it."""
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, ast.Name(alias.name, ast.Load())
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _pairs(target, node.value)
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        yield from _pairs(node.target, node.value)
    elif isinstance(node, ast.keyword):
        yield node.arg or "", node.value
    elif isinstance(node, (ast.For, ast.comprehension)):
        for member in getattr(node.iter, "elts", ()):
            yield from _pairs(node.target, member)
    elif isinstance(node, FUNCTIONS):
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        defaults = node.args.defaults
        yield from zip(names[len(names) - len(defaults) :], defaults)
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults):
            if default is not None:
                yield argument.arg, default


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    targets, values = getattr(target, "elts", None), getattr(value, "elts", None)
    if targets is None:
        yield terminal(target), value
    elif values is not None and len(values) == len(targets):
        for pair in zip(targets, values):
            yield from _pairs(*pair)
    else:
        for part in targets:
            yield from _pairs(part, value)


def terminal(node: ast.AST | None) -> str:
    """x for x and for any.thing.x, else ""."""
    return str(getattr(node, "id", "") or getattr(node, "attr", ""))


def may_be_class(node: ast.expr, names: Collection[str]) -> bool:
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") == "type" and len(node.args) == 1
    if isinstance(node, (ast.IfExp, ast.BoolOp, ast.Tuple, ast.List)):
        return any(may_be_class(part, names) for part in _branches(node))
    return terminal(node) in names or getattr(node, "attr", "") == "__class__"


def _branches(node: ast.IfExp | ast.BoolOp | ast.Tuple | ast.List) -> list[ast.expr]:
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    return node.values if isinstance(node, ast.BoolOp) else node.elts


# ---- One module ----------------------------------------------------------------------------------


class _Reader:
    """Walks the tree of one module."""

    def __init__(
        self, module: Module, watched: Watched, names: set[str], without: Collection[int]
    ) -> None:
        self.tree, self.watched, self.names, self.without = module.tree, watched, names, without
        self.is_main = not modules or module.path == modules[0].path
        self.parents: dict[ast.AST, ast.AST] = {}
        self.nodes: list[ast.AST] = [] if id(self.tree) in without else [self.tree]
        for node in self.nodes:  # grows during the loop
            parts = [part for part in children(node) if id(part) not in without]
            self.parents.update(dict.fromkeys(parts, node))
            self.nodes += parts
        self._note_names(module.nodes)
        self.kept: list[
            tuple[ast.AST, str]
        ] = []  # scopes, and names in them that are bound to children

    def _note_names(self, every: list[ast.AST]) -> None:
        """Collect how the module binds and uses its names, in any scope."""
        self.bound = {name for node in every for name in _bound_by(node)}
        self.shared = {name for node in every if isinstance(node, SHARED) for name in node.names}
        self.defined = {str(getattr(node, "name", "")) for node in every
                        if isinstance(node, (*FUNCTIONS, ast.ClassDef))}  # fmt: skip
        self.reflects = any(
            terminal(node.func) in ("globals", "locals", "vars")
            for node in every
            if isinstance(node, ast.Call) and not node.args
        )
        self.arguments = {a.arg for node in every if isinstance(node, FUNCTIONS)
                          for a in parameters(node.args)}  # fmt: skip
        self.stored = Counter(
            terminal(node) for node in every
            if isinstance(getattr(node, "ctx", None), ast.Store)
        )  # fmt: skip
        self.iterators = {
            getattr(self._function_of(node), "name", "")
            for node in every
            if isinstance(node, (ast.Yield, ast.YieldFrom))
        }
        self.given: dict[str, list[ast.expr]] = {}  # the expressions bound to each name
        for node in every:
            for name, value in _named(node):
                self.given.setdefault(name, []).append(value)

    def objections(self) -> Iterator[tuple[int, str]]:
        ways: dict[type, Callable[[Any], str]] = {
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.ClassDef: self._class,
            ast.Constant: self._constant,
            ast.Name: self._name,
        }
        for node in self.nodes:
            what = self._asks(node) or ways.get(type(node), _nothing)(node)
            if what:
                yield node.lineno, what  # type: ignore[attr-defined]
        for scope, name in self.kept:  # grows during the loop
            for node in self._uses(scope, name):
                if not self._is_read(node):
                    yield node.lineno, f"changes {name}, a node's children, or lets it escape"

    def _function_of(self, node: ast.AST) -> ast.AST:
        """The innermost function, class or module that contains the node."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                break
        return node

    def _is_self(self, node: ast.expr, not_of: str = CLASS) -> bool:
        """Is it the first argument of a method, in a class other than `not_of`?"""
        function = self._function_of(node)
        while isinstance(function, ast.Lambda):
            function = self._function_of(function)
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return False
        cls = self.parents.get(function)
        first = next((a.arg for a in parameters(function.args)), None)
        is_method = isinstance(cls, ast.ClassDef) and cls.name != not_of
        is_first = getattr(node, "id", "") == first
        return is_method and is_first and first not in _stored(function)

    # Object censuses, and what the source doesn't show.

    def _asks(self, node: ast.AST) -> str:
        if not isinstance(node, ASKING):
            return ""
        asked = {getattr(node, "attr", "")}
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            asked = {getattr(node, "module", None) or "", *(alias.name for alias in node.names)}
        for name in sorted(asked & CENSUS):
            return f"counts objects with {name}"
        for name in sorted(asked & {"builtins", "__main__"}):
            return f"uses the module {name}"
        if isinstance(node, (ast.Import, ast.ImportFrom)) and self._is_ours(asked):
            return "imports micrograd, in which Value would be the same class,"
        if isinstance(node, ast.keyword) and node.arg in PATCHED:
            return f"passes {node.arg}= as a keyword argument"
        if asked & {"half", "single"} and terminal(getattr(node, "value", None)) in ("np", "numpy"):
            asked |= {"float32"}
        for name in sorted(asked & NARROW):
            return f"computes in {name}"
        if isinstance(node, ast.AST) and {*getattr(node, "kwd_attrs", ())} & {*self.watched.graph}:
            return "matches a node's children"
        return ""

    def _is_ours(self, names: Collection[str]) -> bool:
        """Do these names include a micrograd that is pygradc's?"""
        found = sys.modules.get("micrograd")
        ours = getattr(found, "__name__", "").startswith("pygradc.")
        return ours and any(name.partition(".")[0] == "micrograd" for name in names)

    def _name(self, node: ast.Name) -> str:
        if node.id in HANDED_ON and node.id not in self.bound:
            parent = self.parents[node]
            if not (isinstance(parent, ast.Call) and parent.func is node):
                return f"stores or passes {node.id}"
        return ""

    def _constant(self, node: ast.Constant) -> str:
        parent = self.parents[node]
        asks = isinstance(parent, ast.Call) and terminal(parent.func) in ("getattr", "hasattr")
        if isinstance(node.value, str) and TEXT_OF_PATCHED.fullmatch(node.value) and not asks:
            return f"has the name {node.value} in a string"
        function = terminal(getattr(parent, "func", None))
        typed = getattr(parent, "arg", "") == "dtype" or function in ("astype", "dtype")
        if node.value in NARROW or (typed and node.value in NARROW_SHORT):
            return f"computes in {node.value}"
        return ""

    # Attributes.

    def _attribute(self, node: ast.Attribute) -> str:
        name = node.attr
        if name == "__dict__" and not self._is_dict_read(node, node.value):
            return "uses a __dict__"
        if not isinstance(node.ctx, ast.Load):
            return self._store(node)
        if name not in self.watched.graph:
            return ""
        return self._children(node, name)

    def _store(self, node: ast.Attribute) -> str:
        does = "deletes" if isinstance(node.ctx, ast.Del) else "assigns to"
        own = self._is_self(node.value)
        if node.attr in self.watched.graph:  # a constructor may set it on its own instance
            made = getattr(self._function_of(node), "name", "") == "__init__"
            return "" if made and self._is_self(node.value, "") else f"{does} .{node.attr}"
        if node.attr in PATCHED or (node.attr in self.watched.called and not own):
            return f"{does} {_shown(node.value)}.{node.attr}"
        if may_be_class(node.value, self.names) and (does == "deletes" or node.attr in MADE_OF):
            return f"{does} {_shown(node.value)}.{node.attr}"
        return ""

    def _is_dict_read(self, node: ast.expr, owner: ast.expr) -> bool:
        """Is the owner of this `__dict__` certainly not a node?"""
        return self._is_self(owner) or self._is_class_or_module(owner)

    def _is_class_or_module(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and any(
            isinstance(each, (ast.Import, ast.ImportFrom, ast.ClassDef))
            and node.id in _bound_by(each)
            and node.id not in self.names
            for each in self.tree.body
        )

    # Children.

    def _children(self, node: ast.expr, name: str) -> str:
        parent = self.parents[node]
        if isinstance(parent, ast.Attribute) and parent.attr in CHANGERS:
            return f"changes .{name}"
        if isinstance(parent, ast.Compare) and not self._compares_only(parent, node):
            return f"tests the identity of .{name}"
        if name in self.watched.changeable and not self._is_read(node):
            return f"changes .{name}, or lets it escape"
        return ""

    def _compares_only(self, node: ast.Compare, side: ast.expr) -> bool:
        by_identity = any(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops)
        others = [part for part in (node.left, *node.comparators) if part is not side]
        return not by_identity or all(isinstance(part, ast.Constant) for part in others)

    def _is_read(self, node: ast.expr) -> bool:
        """Is a container at this place neither changed nor kept? Binding it to a name is accepted:
        uses of that name are checked later.
        """
        if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            return False
        parent = self.parents[node]
        if isinstance(parent, (ast.BinOp, ast.Compare, ast.AugAssign)) and self.defined & REFLECTED:
            return False
        if isinstance(parent, (ast.For, ast.AsyncFor)):
            return parent.iter is node
        if isinstance(
            parent,
            (ast.comprehension, ast.If, ast.While, ast.Assert, ast.Expr, ast.Starred)
            + (ast.FormattedValue, ast.YieldFrom, ast.BinOp),
        ):
            return True
        if isinstance(parent, ast.UnaryOp):
            return isinstance(parent.op, ast.Not)
        if isinstance(parent, ast.Compare):
            return self._compares_only(parent, node)
        if isinstance(parent, ast.AugAssign):
            return parent.value is node
        if isinstance(parent, ast.Subscript):
            return parent.value is node and isinstance(parent.ctx, ast.Load)
        if isinstance(parent, ast.IfExp) and parent.test is node:
            return True
        if isinstance(parent, (ast.IfExp, ast.BoolOp)):
            return self._is_read(parent)
        if isinstance(parent, ast.NamedExpr):
            return self._is_named(parent.target, parent) and self._is_read(parent)
        if isinstance(parent, (ast.Assign, ast.AnnAssign)):
            targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
            return all(self._is_named(target, parent) for target in targets)
        if isinstance(parent, ast.Call):
            return self._is_read_by(parent, node)
        if isinstance(parent, ast.Attribute):
            call = self.parents[parent]
            return parent.attr in READING and isinstance(call, ast.Call) and call.func is parent
        return False

    def _is_read_by(self, call: ast.Call, node: ast.expr) -> bool:
        if node not in call.args:
            return False
        if isinstance(call.func, ast.Name) and call.func.id in READERS:
            chooses = call.func.id in ("max", "min") and len(call.args) > 1
            return call.func.id not in self.bound and not chooses
        name = terminal(call.func)
        return name in ITERATING and name not in self.defined

    def _is_named(self, target: ast.expr, node: ast.AST) -> bool:
        """Does the target unpack it, or bind a name with uses that can be checked later?"""
        if isinstance(target, (ast.Tuple, ast.List)):
            return True
        scope = self._function_of(node)
        if not isinstance(target, ast.Name) or isinstance(scope, ast.ClassDef):
            return False
        if target.id in self.shared:
            scope = self.tree
        if self.reflects or (scope is self.tree and not self.is_main):  # reachable from elsewhere
            return False
        if (scope, target.id) not in self.kept:
            self.kept.append((scope, target.id))
        return True

    def _uses(self, scope: ast.AST, name: str) -> Iterator[ast.Name]:
        """The places where the name is read in this scope, or augmented in place."""
        todo: list[ast.AST] = [*ast.iter_child_nodes(scope)]
        while todo:
            node = todo.pop()
            if id(node) in self.without:
                continue
            if isinstance(node, FUNCTIONS) and _binds(node, name):
                continue
            if isinstance(node, ast.Name) and node.id == name:
                in_place = isinstance(self.parents[node], ast.AugAssign)
                if in_place or isinstance(node.ctx, ast.Load):
                    yield node
            todo.extend(ast.iter_child_nodes(node))

    # Calls.

    def _call(self, node: ast.Call) -> str:
        name, builtin = terminal(node.func), getattr(node.func, "id", "")
        first, *others = [*node.args, None]
        if builtin in ("exec", "eval"):
            return f"executes a string with {builtin}"
        if name == "__hash__" and not self._is_self(getattr(node.func, "value", node)):
            return "takes a hash"
        if name in SETTERS and first is not None:
            return self._setter(name, first, next(iter(others)))
        if name in GETTERS:
            return f"may get a node's children with {name}"
        if builtin == "getattr" and len(node.args) > 1:
            return self._getattr(node, node.args[1])
        if builtin == "vars" and first is not None and not self._is_arguments(first):
            return "" if self._is_dict_read(node, first) else "uses vars()"
        if builtin == "type" and len(node.args) == 3:
            bases = node.args[1]
            if not isinstance(bases, ast.Tuple) or not all(map(self._is_other, bases.elts)):
                return "may derive a class from it, with type()"
        if name in ("new_class", "make_dataclass"):
            return f"may derive a class from it, with {name}()"
        if builtin in ("id", "hash") and first is not None:
            return self._address(node, builtin, first)
        if name == "collect" and not isinstance(self.parents[node], ast.Expr):
            return "counts objects with collect"
        if terminal(node.func) == CLASS:
            return self._construction(node)
        return ""

    def _getattr(self, node: ast.Call, name: ast.expr) -> str:
        if isinstance(name, ast.Constant):
            possible = {name.value}
        else:
            given = self.given.get(terminal(name), [])
            possible = {getattr(value, "value", None) for value in given}
            if None in possible or not given or self._is_argument(name):
                possible = {*self._texts()}
        for child in sorted({*self.watched.graph} & possible):
            return self._children(node, child)
        return "uses a __dict__" if "__dict__" in possible else ""

    def _is_argument(self, node: ast.expr) -> bool:
        function = self._function_of(node)
        arguments = parameters(function.args) if isinstance(function, FUNCTIONS) else []
        return any(a.arg == terminal(node) for a in arguments)

    def _setter(self, name: str, owner: ast.expr, attribute: ast.expr | None) -> str:
        told = getattr(attribute, "value", None)
        forbidden = {*self.watched.graph, *self.watched.called} | PATCHED
        if may_be_class(owner, self.names) or told in forbidden:
            return f"calls {name}"
        if isinstance(attribute, ast.Constant) or self._is_self(owner):
            return ""
        possible = isinstance(attribute, (ast.JoinedStr, ast.BinOp)) or any(
            text in forbidden or UNFINISHED.match(text) for text in self._texts()
        )
        return f"calls {name}" if possible else ""

    def _texts(self) -> Iterator[str]:
        """What a computed name may consist of: string constants, and names of plain functions."""
        for node in self.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.FunctionDef):
                yield "" if isinstance(self.parents[node], ast.ClassDef) else node.name

    def _is_arguments(self, node: ast.expr) -> bool:
        """Is it a parsed command line: parse_args(), or a name bound to it?"""
        if isinstance(node, ast.Call):
            return terminal(node.func) in ("parse_args", "parse_known_args")
        given = self.given.get(terminal(node), [])
        return bool(given) and all(
            isinstance(value, ast.Call) and self._is_arguments(value) for value in given
        )

    def _construction(self, node: ast.Call) -> str:
        given = [*node.args[1:3], *(keyword.value for keyword in node.keywords)]
        tuples = [part.elts for part in given if isinstance(part, ast.Tuple)]
        counts = {
            len(members)
            for members in tuples
            if not any(isinstance(member, ast.Starred) for member in members)
        }
        unequal = f"passes {CLASS} unequal numbers of children and derivatives"
        return unequal if len(counts) > 1 else ""

    # Addresses. That of an inner node may be reused once the program drops its reference.

    def _address(self, call: ast.Call, function: str, node: ast.expr) -> str:
        if function == "hash" and not isinstance(node, ast.Name):
            return ""
        if self._is_self(node) or self._is_held(node) or self._is_compared(call):
            return ""
        return f"takes the {'address' if function == 'id' else 'hash'} of {_shown(node)}"

    def _is_compared(self, call: ast.Call) -> bool:
        """Are the ids of two variables compared? The variables keep both objects alive."""
        parent = self.parents[call]
        return isinstance(parent, ast.Compare) and all(
            isinstance(side, ast.Call) and all(isinstance(a, ast.Name) for a in side.args)
            and terminal(side.func) == terminal(call.func)
            for side in (parent.left, *parent.comparators)
        )  # fmt: skip

    def _is_held(self, node: ast.expr) -> bool:
        """Is it the variable of a loop over a container that stays alive under another name?"""
        if not isinstance(node, ast.Name):
            return isinstance(node, ast.Constant)
        scope = self._function_of(node)
        if self._is_argument(node):
            return False
        loops = [
            each for each in ast.walk(scope)
            if isinstance(each, (ast.For, ast.comprehension)) and node.id in _stored(each.target)
        ]  # fmt: skip
        stored = [name for name in _stored(scope) if name == node.id]
        return len(loops) == len(stored) > 0 and all(self._holds(loop.iter) for loop in loops)

    def _holds(self, node: ast.expr) -> bool:
        """Does this container outlive the loop, with its members?"""
        if isinstance(node, ast.Call):
            name = terminal(node.func)
            if name == "parameters":
                return True
            wraps = name in ("enumerate", "sorted", "reversed", "list", "zip", "set")
            return wraps and bool(node.args) and all(map(self._holds, node.args))
        if isinstance(node, ast.Attribute):
            return node.attr not in self.watched.graph and self.stored[node.attr] < 2
        if not isinstance(node, ast.Name) or self._is_argument(node):
            return False
        if self.stored[node.id] > 1 and _stored(self._function_of(node)).count(node.id) > 1:
            return False
        return not any(map(self._passes_by, self.given.get(node.id, ())))

    def _passes_by(self, value: ast.expr) -> bool:
        """Is it an iterator, or a node's children? Neither keeps its members alive."""
        if isinstance(value, ast.Call):
            return terminal(value.func) in {*self.iterators, "getattr", "map", "filter", "iter"}
        return isinstance(value, ast.GeneratorExp) or terminal(value) in self.watched.graph

    # Classes.

    def _class(self, node: ast.ClassDef) -> str:
        for base in node.bases:
            if not self._is_other(base):
                return f"derives {node.name} from it" if _shown(base) == CLASS else (
                    f"derives {node.name} from {_shown(base)}, which may be it"
                )  # fmt: skip
        return ""

    def _is_other(self, base: ast.expr) -> bool:
        """Is this base certainly not the program's Value?"""
        if isinstance(base, ast.Subscript):
            return self._is_other(base.value)
        if isinstance(base, ast.Call):
            return terminal(base.func) in MAKERS
        if may_be_class(base, self.names) or not isinstance(base, (ast.Name, ast.Attribute)):
            return False
        if isinstance(base, ast.Attribute):
            return True
        if base.id in self.arguments:
            return False
        return all(
            isinstance(v, (ast.Name, ast.Attribute))
            or (isinstance(v, ast.Call) and terminal(v.func) in {*MAKERS, "TypeVar"})
            for v in self.given.get(base.id, ())
        )


def _nothing(node: ast.AST) -> str:
    return ""


def _binds(function: ast.AST, name: str) -> bool:
    """Does this function bind the name locally, hiding the outer one?"""
    if any(a.arg == name for a in parameters(function.args)):  # type: ignore[attr-defined]
        return True
    inside = [part for child in ast.iter_child_nodes(function) for part in ast.walk(child)]
    shared = any(name in part.names for part in inside if isinstance(part, SHARED))
    nested = any(isinstance(part, FUNCTIONS) for part in inside)
    return not shared and not nested and name in _stored(function)


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]


def _stored(node: ast.AST) -> list[str]:
    return [
        part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    ]


def _shown(node: ast.expr) -> str:
    return terminal(node) or "an expression"
