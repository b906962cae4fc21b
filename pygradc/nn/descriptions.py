"""How a model is built, as a dict for JSON: kinds of layers, their sizes and activations.

Only the library's own layers can be described. A description from a file is checked entry by entry;
`shapes_of` says which arrays belong to it before anything is built.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pygradc import nn
from pygradc.core.ops import activation_number
from pygradc.value import Value

_DEEPEST = 20  # sequences in sequences
_LONGEST = 2**20  # characters of a description


class Unfit(ValueError):
    """The state isn't that of a model, or its parts don't fit; says how."""


def describe(model: Any) -> dict[str, Any]:
    """The description of a model.

    Raises:
        TypeError: it can't be described; names the part, and says what to write.
    """
    about = _described("model", model, 0)
    try:
        _check(about, "model", 0)
    except Unfit:
        raise _indescribable("model", f"is {model!r}") from None
    return about


def _described(name: str, model: Any, depth: int) -> dict[str, Any]:
    kind = type(model)
    if kind in (nn.MLP, nn.Sequential) and depth < _DEEPEST:
        layers = [
            _described(f"{name}.layers.{i}", layer, depth + 1)
            for i, layer in enumerate(model.layers)
        ]
        return {"kind": kind.__name__, "layers": layers}
    if kind in (nn.Layer, nn.Linear):
        first = _same(name, [_described(name, neuron, depth) for neuron in model.neurons])
        size = {"nin": first["nin"], "nout": len(model.neurons)}
        return {**first, "kind": kind.__name__, **size}
    if kind is nn.Neuron:
        if not isinstance(model.activation, str):
            raise _indescribable(name, f"has the activation {model.activation!r}, a function")
        bias = isinstance(model.b, Value)
        if not all(isinstance(w, Value) for w in model.w) or not (bias or model.b == 0.0):
            raise _indescribable(name, "has a weight or a bias that is no Value")
        activation = model.activation
        return {"kind": "Neuron", "nin": len(model.w), "activation": activation, "bias": bias}
    if kind is nn.Embedding:
        return {"kind": "Embedding", "count": len(model.weight), "size": len(model.weight[0])}
    raise _indescribable(name, f"is a {kind.__name__}")


def _same(name: str, neurons: list[dict[str, Any]]) -> dict[str, Any]:
    if not neurons or any(neuron != neurons[0] for neuron in neurons):
        raise _indescribable(name, "has neurons that differ")
    return neurons[0]


def _indescribable(name: str, how: str) -> TypeError:
    return TypeError(
        f"save_model: {name} {how}: only nn's own layers with activations by name can be built "
        "again from a file; write save_state(model.state_dict(), path)"
    )


_FIELDS = {
    "Neuron": ("nin", "activation", "bias"),
    "Layer": ("nin", "nout", "activation", "bias"),
    "Linear": ("nin", "nout", "activation", "bias"),
    "Embedding": ("count", "size"),
    "MLP": ("layers",),
    "Sequential": ("layers",),
}


def parsed(text: Any) -> dict[str, Any]:
    """A checked description.

    Raises:
        Unfit: it isn't one; says where.
    """
    import json  # here, since it takes 2 ms

    found = np.asarray(text)
    if found.shape or found.dtype.kind != "U" or len(found.item()) > _LONGEST:
        raise Unfit("its description of the model isn't text")
    try:
        about = json.loads(found.item(), parse_int=_integer)
    except (json.JSONDecodeError, RecursionError):
        raise Unfit("its description of the model is damaged") from None
    _check(about, "model", 0)
    return about  # type: ignore[no-any-return]


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= 15 else -1  # which no size is


def _check(about: Any, name: str, depth: int) -> None:
    kind = about.get("kind") if isinstance(about, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS or depth > _DEEPEST:
        raise Unfit(f"its description of the model is damaged: {name} is none of {list(_FIELDS)}")
    if {*about} != {"kind", *_FIELDS[kind]}:
        raise Unfit(f"its description of the model is damaged: {name} has {sorted(about)}")
    for field in _FIELDS[kind]:
        if not _is_valid(field, about[field], kind):
            raise Unfit(f"its description of the model is damaged: {name}: {field}")
    for i, layer in enumerate(about.get("layers", ())):
        _check(layer, f"{name}.layers.{i}", depth + 1)
        if kind == "MLP" and layer["kind"] not in ("Layer", "Linear"):
            raise Unfit(f"its description of the model is damaged: {name}.layers.{i} is no layer")


def _is_valid(field: str, value: Any, kind: str) -> bool:
    if field == "layers":
        return isinstance(value, list) and bool(value)
    if field == "bias":
        return isinstance(value, bool)
    if field == "activation":
        try:
            activation_number(value)
        except ValueError:
            return False
        return kind != "Linear" or bool(value == "linear")
    return type(value) is int and value >= 1


def shapes_of(about: Any) -> dict[str, tuple[int, ...]]:
    """The names and shapes of its state, as `state_dict` has them."""
    kind = about["kind"]
    if kind == "Embedding":
        return {"weight": (about["count"], about["size"])}
    if kind == "Neuron":
        return {"parameters": (about["nin"] + about["bias"],)}
    if kind == "Linear":
        return _layer_shapes(about)
    if kind == "Layer":
        return {"parameters": (about["nout"] * (about["nin"] + about["bias"]),)}
    found = {}
    for i, layer in enumerate(about["layers"]):
        own = _layer_shapes(layer) if layer["kind"] == "Layer" else shapes_of(layer)
        found.update({f"layers.{i}.{key}": shape for key, shape in own.items()})
    return found


def _layer_shapes(about: Any) -> dict[str, tuple[int, ...]]:
    """Those of a layer in a sequence."""
    shapes: dict[str, tuple[int, ...]] = {"weight": (about["nout"], about["nin"])}
    return {**shapes, "bias": (about["nout"],)} if about["bias"] else shapes


def inputs_of(about: Any) -> int | None:
    if "layers" in about:
        return inputs_of(about["layers"][0])
    return about.get("nin")  # type: ignore[no-any-return]


def outputs_of(about: Any) -> int | None:
    if "layers" in about:
        return outputs_of(about["layers"][-1])
    return 1 if about["kind"] == "Neuron" else about.get("nout")


def sizes_of(about: Any) -> list[int]:
    """Inputs, and the neurons of each layer, of an MLP."""
    return [about["layers"][0]["nin"], *(layer["nout"] for layer in about["layers"])]


def build(about: Any) -> Any:
    """The model, with weights that a seed draws, so that Python's `random` isn't used."""
    kind, bias = about["kind"], about.get("bias")
    if kind == "Embedding":
        return nn.Embedding(about["count"], about["size"], seed=0)
    if kind == "Linear":
        return nn.Linear(about["nin"], about["nout"], bias, seed=0)
    if kind == "Layer":
        return nn.Layer(about["nin"], about["nout"], about["activation"], bias=bias, seed=0)
    if kind == "Neuron":
        return nn.Layer(about["nin"], 1, about["activation"], bias=bias, seed=0).neurons[0]
    layers = [build(layer) for layer in about["layers"]]
    if kind == "Sequential":
        return nn.Sequential(*layers)
    model = nn.MLP(1, [1], seed=0)
    model.layers = layers
    return model
