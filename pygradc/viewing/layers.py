"""The layers of a network, found in its graph: what `nn` computes, or a loop that someone wrote.

A neuron is a sum of at least two products of an input and a weight, which is a leaf, and of other
leaves, such as a bias; its activation belongs to it. Neurons of the same inputs are a layer. Of a
batch each row has layers of its own, and the weights, which all rows use, are a group beside them.
Nothing has to be declared, and any graph may be asked; where there are no such sums there are no
groups. In a program a neuron is one instruction, a dot.
Cost: O(nodes + edges).
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Union

from pygradc.viewing.description import Graph, Group, Node

_MANY = 8  # a layer's inputs become a group when there are more
Key = tuple[Union[int, str], ...]


@dataclass
class _Neuron:
    """A sum of products, its activation among the members; `sides` are both factors' lists."""

    top: int
    members: list[int]
    sides: tuple[list[int], list[int]]
    leaves: list[int]
    activation: str = ""


def find_layers(graph: Graph) -> list[Group]:
    """The layers, in the order in which they are computed; then groups of weights and of inputs."""
    nodes = graph.nodes
    users = _users(nodes)
    neurons = [neuron for top in graph.forward for neuron in _neuron_at(top, nodes, users)]
    for neuron in neurons:
        _add_activation(neuron, nodes, users)
    return _groups(_by_inputs(neurons, nodes, users), nodes, users)


def _users(nodes: Sequence[Node]) -> list[list[int]]:
    users: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        for operand in node.operands:
            users[operand].append(i)
    return users


def _is(node: Node, name: str) -> bool:
    return node.row is not None and node.row.name == name


def _neuron_at(top: int, nodes: Sequence[Node], users: list[list[int]]) -> Iterable[_Neuron]:
    """The neuron whose sum ends here, if one does."""
    if nodes[top].made == "dot":
        operands, starts = nodes[top].operands, len(nodes[top].operands) % 2
        start, pairs = operands[:starts], operands[starts:]
        if _are_leaves(start, nodes):
            yield from _checked(_Neuron(top, [top], (pairs[::2], pairs[1::2]), start), nodes)
        return
    if not _is(nodes[top], "add") or _goes_on(top, nodes, users):
        return
    sums, products, leaves, stack = [], [], [], [top]
    while stack:
        at = stack.pop()
        if _is(nodes[at], "add") and (at == top or len(users[at]) == 1):
            sums.append(at)
            stack += reversed(nodes[at].operands)
        elif _is(nodes[at], "mul") and len(users[at]) == 1:
            products.append(at)
        elif nodes[at].operands:
            return
        else:
            leaves.append(at)
    sides = tuple([nodes[at].operands[side] for at in products] for side in (0, 1))
    yield from _checked(_Neuron(top, [*products, *sums], (sides[0], sides[1]), leaves), nodes)


def _goes_on(top: int, nodes: Sequence[Node], users: list[list[int]]) -> bool:
    """Is this sum a part of a larger one?"""
    return len(users[top]) == 1 and _is(nodes[users[top][0]], "add")


def _checked(neuron: _Neuron, nodes: Sequence[Node]) -> Iterable[_Neuron]:
    """It, unless it has one product, a square or no weights: a sum of squares is no neuron."""
    one, other = neuron.sides
    has_squares = any(map(operator.eq, one, other))
    if len(one) > 1 and not has_squares and (_are_leaves(one, nodes) or _are_leaves(other, nodes)):
        yield neuron


def _are_leaves(side: Iterable[int], nodes: Sequence[Node]) -> bool:
    return not any(nodes[i].operands for i in side)


def _add_activation(neuron: _Neuron, nodes: Sequence[Node], users: list[list[int]]) -> None:
    if len(users[neuron.top]) != 1:
        return
    after = users[neuron.top][0]
    row = nodes[after].row
    if row is not None and row.arity == 1 and row.name != "pown":
        neuron.members.append(after)
        neuron.activation = row.name


# ---- From neurons to layers ----------------------------------------------------------------------

Layers = dict[Key, list[tuple[_Neuron, int]]]  # each neuron with the side of its inputs


def _key(side: Iterable[int], nodes: Sequence[Node], users: list[list[int]]) -> Key:
    """What neurons of one layer share. A leaf of one product only is a number: that counts."""
    return tuple(
        repr(nodes[i].data) if _is_own(i, nodes, users) and nodes[i].data is not None else i
        for i in side
    )


def _is_own(i: int, nodes: Sequence[Node], users: list[list[int]]) -> bool:
    """Is it a leaf that only one node uses?"""
    return not nodes[i].operands and len(users[i]) == 1


def _by_inputs(neurons: list[_Neuron], nodes: Sequence[Node], users: list[list[int]]) -> Layers:
    """Neurons of equal inputs, and the side of the inputs.

    Where both sides are leaves, as in a first layer, the inputs are on the side where the other
    neurons have theirs; if all are like that, those that more neurons have in common.
    """
    keys = [[_key(side, nodes, users) for side in neuron.sides] for neuron in neurons]
    common = Counter(key for pair in keys for key in pair)
    possible = [
        [i for i in (1, 0) if _are_leaves(neuron.sides[1 - i], nodes)] for neuron in neurons
    ]
    known = Counter(sides[0] for sides in possible if len(sides) == 1)
    layers: Layers = {}
    for neuron, pair, sides in zip(neurons, keys, possible):
        side = max(sides, key=lambda i: (known[i], common[pair[i]]))
        layers.setdefault(pair[side], []).append((neuron, side))
    return {key: layer for key, layer in layers.items() if _is_layer(layer)}


def _is_layer(layer: list[tuple[_Neuron, int]]) -> bool:
    """A single sum without a bias and an activation is rather a weighted sum of losses."""
    neuron, _ = layer[0]
    return len(layer) > 1 or bool(neuron.activation or neuron.leaves)


def _groups(layers: Layers, nodes: Sequence[Node], users: list[list[int]]) -> list[Group]:
    groups = [Group(name, []) for name in _names(layers)]
    inside: dict[int, int] = {}
    leaves: dict[tuple[str, int], list[int]] = {}
    for at, layer in enumerate(layers.values()):
        for neuron, _ in layer:
            inside.update(dict.fromkeys(neuron.members, at))
    seen = set(inside)
    for at, layer in enumerate(layers.values()):
        for kind, i in _leaves_of(layer, nodes):
            if i not in seen:
                seen.add(i)
                own = kind == "weights" or len(users[i]) == 1
                if own and all(inside.get(user) == at for user in users[i]):
                    inside[i] = at
                else:
                    leaves.setdefault((kind, at), []).append(i)
    for i, at in inside.items():
        groups[at].nodes.append(i)
    for (kind, at), found in leaves.items():
        if kind == "weights" or len(found) > _MANY:
            groups.append(Group(f"{kind} of {groups[at].name.partition(':')[0]}", found))
    for group in groups:
        group.nodes.sort()
    return groups


def _weights_of(neuron: _Neuron, side: int) -> list[int]:
    return [*neuron.sides[1 - side], *neuron.leaves]


def _leaves_of(
    layer: list[tuple[_Neuron, int]], nodes: Sequence[Node]
) -> Iterable[tuple[str, int]]:
    for neuron, side in layer:
        yield from (("weights", i) for i in _weights_of(neuron, side))
        yield from (("inputs", i) for i in neuron.sides[side] if not nodes[i].operands)


def _names(layers: Layers) -> Iterable[str]:
    """layer 1: 3 → 4, tanh; and where the same weights are used again: layer 1, row 2: ..."""
    numbers: dict[int, int] = {}  # of the first neuron's first weight
    rows: Counter[int] = Counter()
    for layer in layers.values():
        neuron, side = layer[0]
        number = numbers.setdefault(neuron.sides[1 - side][0], len(numbers) + 1)
        rows[number] += 1
        again = f", row {rows[number]}" if rows[number] > 1 else ""
        activations = {neuron.activation for neuron, _ in layer}
        activation = f", {activations.pop()}" if len(activations) == 1 else ""
        shape = f"{len(neuron.sides[0])} → {len(layer)}"
        yield f"layer {number}{again}: {shape}{activation}".rstrip(", ")
