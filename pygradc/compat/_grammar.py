"""Purity of a method, decided on its syntax tree: a whitelist, with anything else refused.

A method that this grammar accepts reads its arguments, the class and `math`, calls only what is
listed here, and writes to locals and to the known attributes of nodes. Running it on nodes of our
own therefore has no other side effects, and is deterministic: it may be tried.
Invariant: executes no code of the program. Cost: one walk over the tree.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Union

Function = Union[ast.FunctionDef, ast.Lambda]

# The attributes of a node in either protocol, under all names in use.
GRAPH = frozenset(
    ("_prev", "prev", "_children", "children", "_parents", "parents", "_local_grads")
    + ("local_grads", "_local_grad", "local_grad")
)
STATE = GRAPH | {"data", "grad", "label", "_op", "op", "_backward"}

# Syntax nodes that are pure if their parts are.
PLAIN_EXPRESSIONS = (
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Tuple, ast.List, ast.Set),
    *(ast.Dict, ast.Starred, ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.ListComp),
    *(ast.SetComp, ast.GeneratorExp, ast.DictComp, ast.comprehension, ast.keyword, ast.Slice),
)
PLAIN_STATEMENTS = (
    *(ast.Assign, ast.AugAssign, ast.Return, ast.If, ast.For, ast.While),
    *(ast.Break, ast.Continue, ast.Pass, ast.Expr),
)
OPERATORS = (
    ast.expr_context,
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn),
)
TYPES = frozenset(("int", "float", "bool", "complex", "str", "set", "list", "tuple", "dict"))
BUILTINS = TYPES | {
    *("isinstance", "len", "reversed", "enumerate", "zip", "range", "max", "min", "abs", "sum"),
    *("any", "all", "frozenset", "id", "type", "repr", "NotImplemented"),
}
CALLED = BUILTINS - {"int", "bool", "complex", "type", "NotImplemented"}  # int() truncates
OF_CONTAINERS = frozenset(
    ("append", "add", "pop", "extend", "update", "reverse", "index", "count", "copy", "items")
    + ("keys", "values", "get", "discard", "remove", "insert")
)


class Impure(Exception):
    """Names a construct that the grammar doesn't accept, and its line."""


def refuse(node: Any, what: str) -> None:
    raise Impure(f"it {what} on line {node.lineno}")


class Names:
    """The meanings of the global names that a method may read.

    Args:
        own: The class's name, if it is bound to the class and nothing else.
        math: The meaning of each name: "" for the module math, else the function in it.
        bound: All names that the module binds in any other way.
    """

    def __init__(self, own: str | None, math: Mapping[str, str], bound: Collection[str]) -> None:
        self.own, self.math, self.bound = own, math, bound

    def is_builtin(self, name: str) -> bool:
        return name in BUILTINS and name not in self.bound and name not in self.math


def check(
    function: ast.FunctionDef, names: Names, methods: Collection[str], attributes: Collection[str]
) -> None:
    """Raise Impure unless the method is pure.

    Args:
        names: The meanings of its module's global names.
        methods: The class's methods assumed pure; calls of these are accepted.
        attributes: The attributes that the constructor sets.
    """
    if any(getattr(d, "id", "") != "staticmethod" for d in function.decorator_list):
        refuse(function, "is decorated")
    known = STATE & {*attributes}
    _Reader(names, methods, known, function.name == "__init__", frozenset()).function(function)


class _Reader(ast.NodeVisitor):
    """Walks one function; a nested function gets its own reader, which inherits the known names."""

    def __init__(
        self,
        names: Names,
        methods: Collection[str],
        attributes: frozenset[str],
        constructs: bool,
        known: frozenset[str],
    ) -> None:
        self.names, self.methods, self.attributes = names, methods, attributes
        self.constructs, self.known = constructs, known
        self.first = ""
        self.in_message = False
        self.at: ast.AST = ast.Pass(lineno=0)

    def function(self, node: Function) -> None:
        arguments = node.args
        for default in (*arguments.defaults, *filter(None, arguments.kw_defaults)):
            if not _is_constant(default):
                refuse(default, "has a default that isn't a constant")
        body: list[Any] = node.body if isinstance(node.body, list) else [node.body]
        own = {a.arg for a in parameters(arguments)} | set(_bound(body))
        self.first = next((a.arg for a in parameters(arguments)), "")
        self.known |= own
        for part in body:
            self.visit(part)

    def nested(self, node: Any) -> None:
        if getattr(node, "decorator_list", None):
            refuse(node, "decorates a function")
        _Reader(self.names, self.methods, self.attributes, False, self.known).function(node)

    visit_FunctionDef = visit_Lambda = nested

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, (*PLAIN_EXPRESSIONS, *PLAIN_STATEMENTS, *OPERATORS)):
            refuse(node if hasattr(node, "lineno") else self.at, f"has {_described(node)}")
        if hasattr(node, "lineno"):
            self.at = node
        super().generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """The annotation of a local is never evaluated; that of an attribute is."""
        if not isinstance(node.target, ast.Name) and not _is_annotation(node.annotation):
            refuse(node, "evaluates an annotation")
        for part in (node.target, node.value):
            if part is not None:
                self.visit(part)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Accept only assertions on an operand's type: the guard checks these again."""
        test = node.test
        if not (isinstance(test, ast.Call) and getattr(test.func, "id", "") == "isinstance"):
            refuse(node, "asserts something other than a type")
        self.visit(test)
        if node.msg is not None:
            self.in_message = True
            self.visit(node.msg)
            self.in_message = False

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Del):
            refuse(node, "deletes a name")
        name = node.id
        if name in self.known or isinstance(node.ctx, ast.Store):
            return
        if name == self.names.own:
            refuse(node, "uses the class as an object")
        if not self.names.math.get(name) and not self.names.is_builtin(name):
            refuse(node, f"reads the global {name}")

    def _visit_types(self, node: ast.expr) -> None:
        """Visit what a type is compared with; here the class and tuples of types are allowed."""
        for part in node.elts if isinstance(node, ast.Tuple) else [node]:
            if not self._is_class(part) and not _is_type_of_self(part):
                self.visit(part)

    def _is_class(self, node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Name) and node.id == self.names.own and node.id not in self.known
        )

    def _is_math(self, node: ast.expr) -> bool:
        known = isinstance(node, ast.Name) and node.id in self.known
        return not known and self.names.math.get(getattr(node, "id", "")) == ""

    def visit_Compare(self, node: ast.Compare) -> None:
        for operator in node.ops:
            self.visit(operator)
        for part in (node.left, *node.comparators):
            if isinstance(part, ast.Tuple):
                self.visit(part)
            else:
                self._visit_types(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base = node.value
        if self._is_class(base):
            if node.attr not in self.methods or not isinstance(node.ctx, ast.Load):
                refuse(node, f"{_does(node)} the class's attribute {node.attr}")
            return
        if self._is_math(base) and isinstance(node.ctx, ast.Load):
            return
        self.visit(base)
        if isinstance(node.ctx, ast.Load):
            if node.attr in self.attributes or node.attr in self.methods:
                return
            if self.in_message and node.attr == "__name__":
                return
        elif isinstance(node.ctx, ast.Store):
            constructed = self.constructs and isinstance(base, ast.Name) and base.id == self.first
            if node.attr in self.attributes or constructed:
                return
        refuse(node, f"{_does(node)} .{node.attr}")

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            local = isinstance(node.value, ast.Name) and node.value.id in self.known
            if not local or isinstance(node.ctx, ast.Del):
                refuse(node, "assigns or deletes an item")
        super().generic_visit(node)

    visit_Index = ast.NodeVisitor.generic_visit  # in Python 3.8's trees

    def visit_Call(self, node: ast.Call) -> None:
        self._callee(node.func)
        arguments: list[Any] = [*node.args, *node.keywords]
        if getattr(node.func, "id", "") == "isinstance" and len(arguments) == 2:
            self._visit_types(arguments.pop())
        for part in arguments:
            self.visit(part)

    def _callee(self, function: ast.expr) -> None:
        if isinstance(function, ast.Name) and function.id not in self.known:
            name = function.id
            if name == self.names.own or self.names.math.get(name):
                return
            called = CALLED | {"type"} if self.in_message else CALLED
            if name not in called or not self.names.is_builtin(name):
                refuse(function, f"calls {name}")
        elif isinstance(function, ast.Attribute) and function.attr in OF_CONTAINERS:
            self.visit(function.value)
        elif isinstance(function, ast.Attribute) and function.attr in STATE - {"_backward"}:
            refuse(function, f"calls .{function.attr}")
        elif _is_type_of_self(function):
            pass
        elif isinstance(function, (ast.Attribute, ast.Name)):
            self.visit(function)
        else:
            refuse(function, "calls the result of an expression")


def _does(node: ast.Attribute) -> str:
    return "reads" if isinstance(node.ctx, ast.Load) else "assigns to"


def _described(node: ast.AST) -> str:
    return {"Raise": "raise", "Try": "try", "With": "with", "Global": "global"}.get(
        type(node).__name__, f"a syntax node that isn't allowed, {type(node).__name__}"
    )


def _is_type_of_self(node: ast.expr) -> bool:
    """Is it type(self) or self.__class__? Calling that makes a node."""
    if isinstance(node, ast.Attribute) and node.attr == "__class__":
        return isinstance(node.value, ast.Name)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "type"
        and len(node.args) == 1
        and isinstance(node.args[0], ast.Name)
    )


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_constant(node.operand)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Tuple) and not node.elts)


def _is_annotation(node: ast.expr) -> bool:
    """Does it consist of type expressions only, so that evaluating it has no side effects?"""
    kinds = (ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.BinOp)
    return all(isinstance(part, kinds) for part in ast.walk(node) if isinstance(part, ast.expr))


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters, in the order of the signature."""
    extra = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def _bound(body: Iterable[ast.AST]) -> Iterable[str]:
    """The names that these statements bind in their own scope, functions included."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield getattr(node, "name", "")
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        yield from _bound(ast.iter_child_nodes(node))
