"""One row of a program, instruction by instruction, as `viewing` shows it.

A box is an instruction, so that a neuron is one dot. Values are computed by the instructions'
formulas on the row; the contributions to gradients are those of the backward plan, in its order: to
a parameter of the row part they are folded, and collected at the end. Before that the row is
replayed, so that an operand outside an op's domain is the replay's own error.
Source: csrc/program/program.c, csrc/program/backward_plan.c; `codegen.py` writes the same as C.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from pygradc._core import lib
from pygradc.core.ops import ROWS
from pygradc.core.refusals import refuse
from pygradc.core.single import Single
from pygradc.recorded import structure as structures
from pygradc.recorded.code import Code, Instruction
from pygradc.recorded.workspace import Borrowed
from pygradc.value import Value
from pygradc.viewing.description import Graph, Node, Sweep, product
from pygradc.viewing.layers import find_layers

_ROWS = {row.name: row for row in ROWS}
_MOST_TERMS = 6
_FAST = (
    "In fast mode a replay computes this output as {}: its functions differ from libm's, which the "
    "steps use, in the last digits."
)
_GATED = "{} * {}, or 0 where a factor that is 0 gates an infinite or undefined one"


def describe(program: Any, args: tuple[Any, ...] | None, output: int) -> Graph:
    """The graph of a program; with the numbers of one row, if that is given.

    Args:
        program: a `Program`.
        args: as for a call, or None.
        output: the number of the output whose gradients are shown.
    Raises:
        IndexError: there is no such output.
        TraceError: a function is being recorded.
        ValueError, TypeError, FloatingPointError: as a call with these arguments.
    """
    refuse("view()")
    count = program._size.outputs
    if not 0 <= output < count:
        raise IndexError(f"view: output={output} of a program with {count} outputs")
    reading = _Reading(program, output)
    if args is None:
        return reading.graph()
    leaves: list[Any] = []
    given = structures.take_apart(args, leaves, "argument")
    program._check(given)
    row = [leaf.data if isinstance(leaf, Value) else float(leaf) for leaf in leaves]
    return reading.graph_at(row, _replayed(program, row)[output])


def _replayed(program: Any, row: Sequence[float]) -> list[float]:
    """The outputs of a row. Gradients are computed, too: what fails is the replay's own error."""
    size = program._size
    numbers = np.array(row, float)
    outputs, gradients = np.empty(size.outputs), np.empty((size.outputs, size.inputs))
    with Borrowed(program) as ws:
        plan = program._plan(lib.PG_WRT_PARAMS | lib.PG_WRT_INPUTS)
        ws.aim([(numbers, len(row), len(row))], 1, plan)
        ws.write_to(outputs=outputs, gradients=gradients)
        program._sum(ws, 1.0)
    return outputs.tolist()  # type: ignore[no-any-return]


def arguments(program: Any, numbers: Sequence[float]) -> tuple[Any, ...]:
    """The arguments of a call, of the inputs one after the other.

    Raises:
        ValueError: there aren't as many as inputs.
    """
    count = program._size.inputs
    if len(numbers) != count:
        raise ValueError(f"view: {len(numbers)} numbers for a program of {count} inputs")
    return tuple(structures.put_together(program._inputs, iter(numbers)))


class _Reading:
    """A program's instructions as nodes, without numbers at first."""

    def __init__(self, program: Any, output: int) -> None:
        self.program, self.output = program, output
        self.code = Code(program._handle)
        self.nodes: list[Node] = []
        self.place: dict[str, int] = {}  # of a name of the listing
        self.made: list[tuple[int, Instruction]] = []  # inner nodes
        self.parts: dict[str, tuple[Instruction, int]] = {}  # of a scatter: the sum's number
        for instruction in self.code.instructions():
            self._add(instruction)
        for at, name in enumerate(self.code.outputs()):
            node = self.nodes[self._at(name)]
            node.label = node.label or ("output" if count_of(program) == 1 else f"output {at}")
        self.root = self._at(self.code.outputs()[output])

    # ---- nodes

    def _at(self, name: str) -> int:
        """The node of this name; that of an input, a parameter or a constant is made here."""
        if name not in self.place:
            self.place[name] = len(self.nodes)
            self.nodes.append(self._leaf(name))
        return self.place[name]

    def _leaf(self, name: str) -> Node:
        kind = re.fullmatch(r"(in|p)(\d+)", name)
        if kind is None:
            return Node(name, data=float(name), kind="constant")
        if kind[1] == "in":
            return Node(name, kind="input")
        value = self.program._params[int(kind[2])]
        label = " ".join(str(value.label).split())
        return Node(name, label=label, data=value.data, held=value.grad, kind="parameter")

    def _add(self, instruction: Instruction) -> None:
        if instruction.name == "scatter":
            for k, part in enumerate(instruction.parts):
                self.parts[part] = instruction, k
            return
        node = Node(instruction.result, made=instruction.name)
        source = instruction
        if instruction.name == "part":
            source, k = self.parts[instruction.result]
            node.formula = f"sum {k} of the numbers by their indices"
        row = node.row = _ROWS.get(instruction.name)
        names = list(source.operands)
        if row is not None:
            node.made = row.symbol
            if row.takes_number:
                node.number = float(names.pop())
                node.made = f"**{node.number!r}" if row.name == "pown" else node.made
        else:
            node.formula = node.formula or _formula(instruction)
        node.operands = [self._at(name) for name in names]
        self.place[instruction.result] = len(self.nodes)
        self.made.append((len(self.nodes), instruction))
        self.nodes.append(node)

    # ---- graphs

    def graph(self) -> Graph:
        name = self.program._name
        graph = Graph(name, self.nodes, self.root, [at for at, _ in self.made])
        graph.groups = find_layers(graph)
        return graph

    def graph_at(self, row: Sequence[float], replayed: float) -> Graph:
        """The graph with the numbers of a row, of which a replay computes `replayed`."""
        for i, number in enumerate(row):
            if f"in{i}" in self.place:
                self.nodes[self.place[f"in{i}"]].data = number
        _Values(self).compute()
        graph = self.graph()
        sweep = _PlanSweep(self)
        sweep.run()
        graph.backward = sweep.gives
        if repr(self.nodes[self.root].data) != repr(replayed):
            graph.notes.append(_FAST.format(repr(replayed)))
        return graph

    def data(self, name: str) -> float:
        """What is known under this name; a number that belongs to an op has no node."""
        at = self.place.get(name)
        found = float(name) if at is None else self.nodes[at].data
        assert found is not None
        return found


def count_of(program: Any) -> int:
    """The number of outputs."""
    return int(program._size.outputs)


def _formula(instruction: Instruction) -> str:
    """How it is computed, with {0}, {1} for its operands."""
    if instruction.name == "select":
        negation = "not " if instruction.opposite else ""
        return f"{{0}} if {negation}{{2}} {instruction.comparison} {{3}} else {{1}}"
    if instruction.name == "take":
        return "entry {0} of the operands after it"
    if instruction.name == "search":
        return f"the place of {{0}} among the operands after it, from the {instruction.side}"
    if instruction.name == "dot":
        form = _GATED if instruction.gated else "{} * {}"
        first = int(instruction.starts)
        terms = ["{0}"] * first
        for at in range(len(instruction.pairs)):
            terms.append(form.format(f"{{{first + 2 * at}}}", f"{{{first + 2 * at + 1}}}"))
        if len(terms) > _MOST_TERMS:
            terms[_MOST_TERMS - 1 : -1] = [f"... {len(terms) - _MOST_TERMS} more ..."]
        return " + ".join(terms)
    if instruction.name in ("custom", "detach"):
        return "{0}"
    return re.sub(r"\ba\b", "{0}", instruction.value)


class _Values:
    """Computes the instructions of a row, one by one."""

    def __init__(self, reading: _Reading) -> None:
        self.reading, self.single = reading, Single()

    def compute(self) -> None:
        for at, instruction in self.reading.made:
            self.reading.nodes[at].data = self._value(self.reading.nodes[at], instruction)

    def _value(self, node: Node, instruction: Instruction) -> float:
        data = self.reading.data
        operands = [] if instruction.name == "part" else [*map(data, instruction.operands)]
        if node.row is not None:
            return self._of_op(node, operands)
        if instruction.name == "select":
            return operands[0] if _is_chosen(instruction, operands) else operands[1]
        if instruction.name == "take":
            return _entry(operands[1:], operands[0], float("nan"))
        if instruction.name == "search":
            return _search(operands[0], operands[1:], instruction.side == "right")
        if instruction.name == "dot":
            return _dot(instruction, operands)
        if instruction.name == "part":
            return self._part(instruction)
        if instruction.name == "square":
            return operands[0] * operands[0]
        if instruction.name == "recip":
            return _reciprocal(operands[0])
        return operands[0]  # custom, detach, copy

    def _of_op(self, node: Node, operands: list[float]) -> float:
        assert node.row is not None
        a, b = operands[0], operands[-1]
        try:
            return self.single.value(node.row, a, b)
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise FloatingPointError(
                f"view: {error}; a replay with errors='ignore' goes on from there, but its steps "
                "can't be shown: choose another row"
            ) from None

    def _part(self, instruction: Instruction) -> float:
        scatter, k = self.reading.parts[instruction.result]
        data = self.reading.data
        summands = [data(number) for number, index in scatter.pairs if data(index) == k]
        total = summands[0] if summands else 0.0
        for summand in summands[1:]:
            total += summand
        return total


def _is_chosen(instruction: Instruction, operands: Sequence[float]) -> bool:
    left, right = operands[2:4]
    found = {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
        "!=": left != right,
    }[instruction.comparison]
    return found != instruction.opposite


def _entry(entries: Sequence[float], index: float, otherwise: float) -> float:
    is_inside = 0.0 <= index < len(entries) and index == int(index)
    return entries[int(index)] if is_inside else otherwise


def _search(x: float, knots: Sequence[float], from_right: bool) -> float:
    """How many knots are below x; from the right: or equal to it. nan is above all."""
    is_above = (lambda knot: not x < knot) if from_right else (lambda knot: not x <= knot)
    return float(sum(map(is_above, knots)))


def _dot(instruction: Instruction, operands: Sequence[float]) -> float:
    rest = operands[instruction.starts :]
    multiply = product if instruction.gated else float.__mul__
    terms = [multiply(left, right) for left, right in zip(rest[::2], rest[1::2])]
    total = operands[0] if instruction.starts else terms.pop(0)
    for term in terms:
        total += term
    return total


def _reciprocal(a: float) -> float:
    """1 / a, and infinite at 0, with its sign."""
    return 1.0 / a if a != 0.0 else float("inf") if repr(a) == "0.0" else float("-inf")


class _PlanSweep(Sweep):
    """The backward plan of one output, carried out step by step."""

    def __init__(self, reading: _Reading) -> None:
        super().__init__(len(reading.nodes), reading.root)
        self.reading, self.code, self.single = reading, reading.code, Single()
        plan = reading.program._plan(lib.PG_WRT_PARAMS | lib.PG_WRT_INPUTS)
        self.plan = plan  # keeps the steps alive
        self.steps = lib.pg_backward_plan_steps(plan.array[reading.output])
        self.folded: dict[int, list[tuple[int, int, float, float]]] = {}

    def run(self) -> None:
        steps, code = self.steps, self.code
        for i in range(steps.row_count):
            self._step(steps.rows[i], code.row)
        for i in range(steps.uniform_count):
            step = steps.uniform[i]
            if step.instr == lib.PG_COLLECT:
                for contribution in self.folded.get(step.b.at, ()):
                    self._give_to(code.uniform(step.a.at), *contribution)
            else:
                self._step(step, code.uniform)

    def _step(self, step: Any, names: Any) -> None:
        instruction = self.code.instruction(step.instr)
        if instruction.name in ("dot", "custom"):
            self._pairs(step, instruction, names)
        elif instruction.name == "take":
            self._take(step, instruction, names)
        elif instruction.name == "scatter":
            self._scatter(step, instruction, names)
        else:
            source = self.reading.place[instruction.result]
            slopes = self._slopes(source, instruction)
            for slot, target in enumerate((step.a, step.b)):
                if target.how != lib.PG_ACCUMULATE_NONE:
                    self._pass(target, names, source, slot, slopes[slot])

    def _slopes(self, source: int, instruction: Instruction) -> tuple[float, ...]:
        node, data = self.reading.nodes[source], self.reading.data
        operands = [*map(data, instruction.operands)]
        if node.row is not None:
            assert node.data is not None
            return self.single.slopes(node.row, operands[0], operands[-1], node.data)
        if instruction.name == "select":
            return (1.0, 0.0) if _is_chosen(instruction, operands) else (0.0, 1.0)
        if instruction.name == "square":
            return (2.0 * operands[0],)
        if instruction.name == "recip":
            assert node.data is not None
            return (-(node.data * node.data),)
        return (1.0,)  # copy

    def _pairs(self, step: Any, instruction: Instruction, names: Any) -> None:
        """A dot or a custom op: from the last pair on, the start after the first one."""
        source, data = self.reading.place[instruction.result], self.reading.data
        targets, first = self.steps.targets, int(instruction.starts)
        for i in reversed(range(len(instruction.pairs))):
            if i == 0 and step.a.how != lib.PG_ACCUMULATE_NONE:
                self._pass(step.a, names, source, 0, 1.0)
            for side, other in ((0, 1), (1, 0)):
                target = targets[step.first + 2 * i + side]
                if target.how != lib.PG_ACCUMULATE_NONE:
                    slope = data(instruction.pairs[i][other])
                    self._pass(target, names, source, first + 2 * i + side, slope)

    def _take(self, step: Any, instruction: Instruction, names: Any) -> None:
        source = self.reading.place[instruction.result]
        index = self.reading.data(instruction.operands[0])
        for i in reversed(range(len(instruction.operands) - 1)):
            target = self.steps.targets[step.first + 2 * i]
            if target.how != lib.PG_ACCUMULATE_NONE:
                self._pass(target, names, source, i + 1, 1.0 if index == i else 0.0)

    def _scatter(self, step: Any, scatter: Instruction, names: Any) -> None:
        """To each number the gradient of the part that it was added to."""
        parts = [self.reading.place[part] for part in scatter.parts]
        for i in reversed(range(len(scatter.pairs))):
            target = self.steps.targets[step.first + 2 * i]
            if target.how != lib.PG_ACCUMULATE_NONE:
                index = self.reading.data(scatter.pairs[i][1])
                source = int(_entry([float(part) for part in parts], index, -1.0))
                slope = 1.0 if source >= 0 else 0.0
                self._pass(target, names, source if source >= 0 else parts[0], 2 * i, slope)

    def _pass(self, target: Any, names: Any, source: int, slot: int, slope: float) -> None:
        """A contribution to a target: at once, or folded until it is collected."""
        amount = product(slope, self.gradients[source])
        if target.how == lib.PG_ACCUMULATE_FOLD:
            self.folded.setdefault(target.at, []).append((source, slot, slope, amount))
        else:
            self._give_to(names(target.at), source, slot, slope, amount)

    def _give_to(self, name: str, source: int, slot: int, slope: float, amount: float) -> None:
        self.add(source, slot, self.reading.place[name], slope, amount)
