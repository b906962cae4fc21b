"""The layers of a network, found in its graph: what `nn` computes, or a loop that someone wrote.

A neuron is a sum of at least two products of an input and a weight, which is a leaf, and of other
leaves, such as a bias; its activation belongs to it. Neurons of the same inputs are a layer. Of a
batch each row has layers of its own, and the weights, which all rows use, are a group beside them.
Any other long sum is a group by itself, such as a loss over many rows.
Nothing has to be declared, and any graph may be asked; where there are no such sums there are no
groups. In a program a neuron is one instruction, a dot.
Cost: O(nodes + edges).
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Union

from pygradc.viewing.description import Graph, Group

_MANY = 8  # a layer's inputs, and the terms of a sum, become a group when there are more
Key = tuple[Union[int, str], ...]


class _Sum(NamedTuple):
    """A tree of additions, each of which has no other use: what is added up, from left to right."""

    additions: list[int]
    terms: list[int]


@dataclass
class _Neuron:
    """A sum of products, its activation among the members; `sides` are both factors' lists."""

    top: int
    members: list[int]
    sides: tuple[list[int], list[int]]
    leaves: list[int]
    activation: str = ""


@dataclass
class _Layer:
    """Neurons of the same inputs, each with the side that these are on."""

    neurons: list[tuple[_Neuron, int]] = field(default_factory=list)

    def members(self) -> Iterator[int]:
        for neuron, _ in self.neurons:
            yield from neuron.members

    def weights(self) -> Iterator[int]:
        for neuron, side in self.neurons:
            yield from (*neuron.sides[1 - side], *neuron.leaves)

    def inputs(self) -> Iterator[int]:
        for neuron, side in self.neurons:
            yield from neuron.sides[side]

    def is_one(self) -> bool:
        """A single sum without a bias and an activation is rather a weighted sum of losses."""
        neuron, _ = self.neurons[0]
        return len(self.neurons) > 1 or bool(neuron.activation or neuron.leaves)


def find_layers(graph: Graph) -> list[Group]:
    """The layers, in the order in which they are computed; then weights and inputs; then sums."""
    return _Search(graph).groups()


class _Search:
    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.users: list[list[int]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for operand in node.operands:
                self.users[operand].append(i)
        self.sums = [self._sum_at(top) for top in graph.forward if self._is_whole_sum(top)]
        neurons = [*map(self._neuron_of_sum, self.sums)]
        neurons += [self._neuron_of_dot(i) for i in graph.forward if self.nodes[i].made == "dot"]
        found = sorted(filter(None, neurons), key=operator.attrgetter("top"))
        for neuron in found:
            self._add_activation(neuron)
        self.layers = [layer for layer in self._by_inputs(found) if layer.is_one()]

    # ---- sums

    def _is(self, i: int, name: str) -> bool:
        row = self.nodes[i].row
        return row is not None and row.name == name

    def _is_leaf(self, i: int) -> bool:
        return not self.nodes[i].operands

    def _are_leaves(self, some: Iterable[int]) -> bool:
        return all(map(self._is_leaf, some))

    def _is_whole_sum(self, top: int) -> bool:
        """Is it an addition, and no part of a larger sum?"""
        users = self.users[top]
        return self._is(top, "add") and not (len(users) == 1 and self._is(users[0], "add"))

    def _sum_at(self, top: int) -> _Sum:
        found, stack = _Sum([], []), [top]
        while stack:
            at = stack.pop()
            if self._is(at, "add") and (at == top or len(self.users[at]) == 1):
                found.additions.append(at)
                stack += reversed(self.nodes[at].operands)
            else:
                found.terms.append(at)
        return found

    # ---- neurons

    def _neuron_of_sum(self, found: _Sum) -> _Neuron | None:
        products = [i for i in found.terms if self._is(i, "mul") and len(self.users[i]) == 1]
        leaves = [i for i in found.terms if self._is_leaf(i)]
        if len(products) + len(leaves) < len(found.terms):
            return None
        left, right = ([self.nodes[i].operands[side] for i in products] for side in (0, 1))
        members = [*products, *found.additions]
        return self._checked(_Neuron(found.additions[0], members, (left, right), leaves))

    def _neuron_of_dot(self, top: int) -> _Neuron | None:
        operands, starts = self.nodes[top].operands, len(self.nodes[top].operands) % 2
        start, pairs = operands[:starts], operands[starts:]
        if not self._are_leaves(start):
            return None
        return self._checked(_Neuron(top, [top], (pairs[::2], pairs[1::2]), start))

    def _checked(self, neuron: _Neuron) -> _Neuron | None:
        """None if it has one product, a square, or no weights: a sum of squares is no neuron."""
        one, other = neuron.sides
        if len(one) < 2 or any(map(operator.eq, one, other)):
            return None
        return neuron if self._are_leaves(one) or self._are_leaves(other) else None

    def _add_activation(self, neuron: _Neuron) -> None:
        if len(self.users[neuron.top]) != 1:
            return
        (after,) = self.users[neuron.top]
        row = self.nodes[after].row
        if row is not None and row.arity == 1 and row.name != "pown":
            neuron.members.append(after)
            neuron.activation = row.name

    # ---- from neurons to layers

    def _by_inputs(self, neurons: Sequence[_Neuron]) -> Iterable[_Layer]:
        """Neurons of equal inputs.

        Where both sides are leaves, as in a first layer, the inputs are on the side where the other
        neurons have theirs; if all are like that, those that more neurons have in common.
        """
        keys = [tuple(map(self._key, neuron.sides)) for neuron in neurons]
        common = Counter(key for pair in keys for key in pair)
        possible = [
            [i for i in (1, 0) if self._are_leaves(neuron.sides[1 - i])] for neuron in neurons
        ]
        known = Counter(sides[0] for sides in possible if len(sides) == 1)
        layers: dict[Key, _Layer] = {}
        for neuron, pair, sides in zip(neurons, keys, possible):
            side = max(sides, key=lambda i: (known[i], common[pair[i]]))
            layers.setdefault(pair[side], _Layer()).neurons.append((neuron, side))
        return layers.values()

    def _key(self, side: Iterable[int]) -> Key:
        """What neurons of one layer share. A leaf of one product only is a number: that counts."""
        return tuple(
            repr(self.nodes[i].data)
            if self._is_leaf(i) and len(self.users[i]) == 1 and self.nodes[i].data is not None
            else i
            for i in side
        )

    # ---- groups

    def groups(self) -> list[Group]:
        names = [*self._names()]
        inside: dict[int, int] = {}  # of a node its layer
        for at, layer in enumerate(self.layers):
            inside.update(dict.fromkeys(layer.members(), at))
        beside = self._place_leaves(inside)
        found = [Group(name, []) for name in names]
        for i, at in inside.items():
            found[at].nodes.append(i)
        for (kind, at), leaves in beside.items():
            if kind == "weights" or len(leaves) > _MANY:
                found.append(Group(f"{kind} of {names[at].partition(':')[0]}", leaves))
        taken = {i for group in found for i in group.nodes}
        found += self._long_sums(taken)
        for group in found:
            group.nodes.sort()
        return found

    def _place_leaves(self, inside: dict[int, int]) -> dict[tuple[str, int], list[int]]:
        """Put leaves that only one layer uses into it; return the others by kind and layer."""
        beside: dict[tuple[str, int], list[int]] = {}
        seen = set(inside)
        for at, layer in enumerate(self.layers):
            for kind, leaves in (("weights", layer.weights()), ("inputs", layer.inputs())):
                for i in filter(self._is_leaf, leaves):
                    if i in seen:
                        continue
                    seen.add(i)
                    own = kind == "weights" or len(self.users[i]) == 1
                    if own and all(inside.get(user) == at for user in self.users[i]):
                        inside[i] = at
                    else:
                        beside.setdefault((kind, at), []).append(i)
        return beside

    def _long_sums(self, taken: set[int]) -> Iterator[Group]:
        """With the terms that are leaves, or ops of leaves, and used for nothing else."""
        for additions, terms in self.sums:
            if len(terms) <= _MANY or additions[0] in taken:
                continue
            nodes = list(additions)
            for i in terms:
                if len(self.users[i]) == 1 and self._are_leaves(self.nodes[i].operands):
                    nodes.append(i)
                    nodes += (j for j in self.nodes[i].operands if len(self.users[j]) == 1)
            yield Group(f"sum of {len(terms)}", sorted(set(nodes) - taken))

    def _names(self) -> Iterator[str]:
        """layer 1: 3 → 4, tanh; and where the same weights are used again: layer 1, row 2: ..."""
        numbers: dict[int, int] = {}  # of the first neuron's first weight
        rows: Counter[int] = Counter()
        for layer in self.layers:
            neuron, _ = layer.neurons[0]
            number = numbers.setdefault(next(layer.weights()), len(numbers) + 1)
            rows[number] += 1
            again = f", row {rows[number]}" if rows[number] > 1 else ""
            activations = {neuron.activation for neuron, _ in layer.neurons}
            activation = f", {activations.pop()}" if len(activations) == 1 else ""
            shape = f"{len(neuron.sides[0])} → {len(layer.neurons)}"
            yield f"layer {number}{again}: {shape}{activation}".rstrip(", ")
