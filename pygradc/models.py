"""Models in files: how they are built, their weights, the scaling of their data, names of classes.

A file is a state (`states.py`), which `numpy.load` reads, too: the model's `state_dict`, and

    model           JSON: the kinds of its layers, their sizes and activations
    sizes           of an MLP: inputs, neurons of each layer
    mean, scale     of the features; None without scaling
    target_mean, target_scale    of the target
    class_names, feature_names   strings; empty if there are none
    target_name     a string; empty if it has none, and missing in the first files

`python -m pygradc train` writes the same. Nothing in a file is executed: a model is built of the
library's own layers, after the sizes were compared with those of the arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pygradc import nn, states
from pygradc.core.foreign import array_of
from pygradc.core.masks import refuse_masked
from pygradc.nn.descriptions import (
    Unfit,
    build,
    describe,
    inputs_of,
    outputs_of,
    parsed,
    shapes_of,
    sizes_of,
)

Floats = npt.NDArray[np.float64]

_ABOUT = (
    *("mean", "scale", "target_mean", "target_scale"),
    *("class_names", "feature_names", "target_name"),
)


class Scaling(NamedTuple):
    """How data were scaled: a model's inputs are (features - mean) / scale.

        >>> import numpy as np
        >>> from pygradc import models
        >>> names = {"feature_names": ("temperature",), "target_name": "sales"}
        >>> scaling = models.Scaling([20.0], [5.0], 100.0, 10.0, **names)
        >>> scaling.of_features([[25.0]]).tolist(), scaling.to_targets(np.array([1.5])).tolist()
        ([[1.0]], [115.0])
        >>> scaling.mean, scaling.scale, scaling.target_mean, scaling.target_scale
        ([20.0], [5.0], 100.0, 10.0)
        >>> scaling.feature_names, scaling.target_name
        (('temperature',), 'sales')

    Attributes:
        mean, scale: Shape (inputs,); no scale is 0.
        target_mean, target_scale: A prediction is outputs * target_scale + target_mean: numbers,
            or shape (outputs,).
        feature_names: One name per input; or none.
        target_name: What is predicted; or "".
    """

    mean: Floats
    scale: Floats
    target_mean: float | Floats = 0.0
    target_scale: float | Floats = 1.0
    feature_names: tuple[str, ...] = ()
    target_name: str = ""

    def of_features(self, X: Any) -> Floats:
        """The model's inputs for rows of raw features, shape (n, inputs); (n,) for one input.

        Raises:
            ValueError: X has another shape; or it has masked entries.
        """
        refuse_masked("X", X)
        rows = array_of("X", X).astype(np.float64, copy=False)
        if rows.shape[1:] != np.shape(self.mean) and (rows.ndim, len(self.mean)) != (1, 1):
            raise ValueError(f"X has shape {rows.shape}, expected (n, {len(self.mean)})")
        inputs: Floats = (rows - self.mean) / self.scale
        return inputs

    def to_targets(self, outputs: Floats) -> Floats:
        """Outputs in the target's units."""
        targets: Floats = outputs * self.target_scale + self.target_mean
        return targets


class SavedModel(NamedTuple):
    """What `load_model` reads.

        >>> from pygradc import models, nn
        >>> state = models.to_state(nn.MLP(1, [2], seed=0), ([20.0], [5.0]), ["cold", "warm"])
        >>> saved = models.from_state(state)
        >>> saved.predict([[10.0]]).shape, saved.class_names, len(saved.model.parameters())
        ((1,), ('cold', 'warm'), 4)
        >>> saved.scaling.mean.tolist()
        [20.0]

    Attributes:
        model: With the weights of the file.
        scaling: None if the file has none.
        class_names: One name per output; None if the file has none.
    """

    model: nn.Module
    scaling: Scaling | None
    class_names: tuple[str, ...] | None

    def predict(self, X: Any) -> Floats | npt.NDArray[np.str_]:
        """Predict rows of raw features.

        Args:
            X: Shape (n, inputs), in the units of the data that the model was trained on.
        Returns:
            Shape (n,): names of classes, if there are any; else the outputs in the target's units,
            as `model.predict` does.
        Raises:
            ValueError: X has another number of columns; or an output is nan, and so no class.
            As `nn.Module.predict`.
        """
        scaling, names = self.scaling, self.class_names
        outputs = self.model.predict(X if scaling is None else scaling.of_features(X))
        if names is None:
            return outputs if scaling is None else scaling.to_targets(outputs)
        outputs = outputs.reshape(len(outputs), -1)
        if len(odd := np.flatnonzero(np.isnan(outputs).any(axis=1))):
            raise ValueError(f"predict: an output in row {odd[0]} is nan: no class is largest")
        found: npt.NDArray[np.str_] = np.array(names)[outputs.argmax(axis=1)]
        return found


def save_model(
    model: nn.Module,
    path: str | os.PathLike[str],
    scaling: Scaling | Sequence[Any] | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a model, with its weights and what a prediction needs; whole or not at all.

    Args:
        model: An `nn.MLP`, `Layer`, `Linear`, `Embedding` or `Neuron`, or a `Sequential` of these,
            whose activations have names. For a class of your own, save its state:
            `save_state(model.state_dict(), path)`.
        path: The file; by convention it ends in .npz.
        scaling: A `Scaling`, or its first items: (mean, scale), for example.
        class_names: One name per output.
    Raises:
        TypeError: the model is of another kind; the message names the part, and what to write.
        ValueError: scaling or class_names don't fit the model.
        OSError: the file can't be written; it is unchanged.

        >>> import os, tempfile
        >>> from pygradc import nn, save_model, load_model
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> save_model(nn.MLP(1, [2], seed=0), path, ([20.0], [5.0]), ["cold", "warm"])
        >>> load_model(path).predict([[10.0], [30.0]]).shape
        (2,)
    """
    if isinstance(model, (str, os.PathLike)) or isinstance(path, nn.Module):
        raise TypeError("save_model: the model comes first: save_model(model, path)")
    states.save_state(to_state(model, scaling, class_names), path)


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a file that `save_model` or `python -m pygradc train` wrote.

        >>> import os, tempfile
        >>> from pygradc import load_model, nn, save_model
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> save_model(nn.MLP(2, [3, 1], seed=0), path)
        >>> model, scaling, names = load_model(path)
        >>> print(model, scaling, names)
        MLP of [Layer(2, 3, 'tanh'), Layer(3, 1, 'tanh')] None None

    Returns:
        The model, its scaling and its class names: `model, scaling, names = load_model(path)`; or
        `load_model(path).predict(X)`.
    Raises:
        OSError: the file can't be read.
        ValueError: it isn't such a file, or is damaged; the message says how. Nothing in a file is
            executed, and Python's `random` isn't used.
    """
    state = states.load_state(path)
    try:
        return from_state(state)
    except Unfit as error:
        raise ValueError(f"{os.fsdecode(os.fspath(path))}: {error}") from None


# ---- the content of a file ----------------------------------------------------------------------


def to_state(
    model: Any, scaling: Any = None, class_names: Any = None
) -> dict[str, states.Saved | str]:
    """The content of the file, as `save_state` takes it.

    Raises:
        TypeError, ValueError: as `save_model`.
    """
    import json  # here, since it takes 2 ms

    about = describe(model)
    state, shapes = model.state_dict(), shapes_of(about)
    if {name: array.shape for name, array in state.items()} != shapes:
        others = sorted({*state} - {*shapes})
        raise TypeError(
            f"save_model: the model has other parameters than its layers, {others}: write "
            "save_state(model.state_dict(), path)"
        )
    given = None if scaling is None else _scaling_of(scaling)
    names = _strings("class_names", class_names)
    _check_sizes(about, given, names)
    sizes = {"sizes": np.array(sizes_of(about))} if about["kind"] == "MLP" else {}
    return {
        **state,
        "model": json.dumps(about),
        **sizes,
        "mean": None if given is None else given.mean,
        "scale": None if given is None else given.scale,
        "target_mean": np.array(0.0 if given is None else given.target_mean),
        "target_scale": np.array(1.0 if given is None else given.target_scale),
        "class_names": np.array(names, dtype=np.str_),
        "feature_names": np.array(() if given is None else given.feature_names, dtype=np.str_),
        "target_name": "" if given is None else given.target_name,
    }


def from_state(state: Mapping[str, Any]) -> SavedModel:
    """The inverse of `to_state`.

    Raises:
        Unfit: an entry is missing, unknown or wrong, or they don't fit each other; says which.
    """
    if "model" not in state:
        raise Unfit("this file holds no model that save_model wrote; load_state reads states")
    rest = {"target_name": "", **state}
    about = parsed(rest.pop("model"))
    shapes = shapes_of(about)
    _check_entries(rest, about, shapes)
    weights = {name: rest[name] for name in shapes}
    for name, shape in shapes.items():
        if np.shape(weights[name]) != shape:
            raise Unfit(f"{name!r} has shape {np.shape(weights[name])}, expected {shape}")
    try:
        scaling = None
        if rest["mean"] is not None:
            features = _strings("feature_names", rest["feature_names"])
            target = rest["target_name"]
            scaling = _scaling_of((*(rest[name] for name in _ABOUT[:4]), features, target))
        names = _strings("class_names", rest["class_names"])
        _check_sizes(about, scaling, names)
        model = build(about)
        model.load_state_dict(weights)
    except (TypeError, ValueError) as error:
        raise Unfit(str(error)) from None
    return SavedModel(model, scaling, names or None)


def _check_entries(rest: Mapping[str, Any], about: Any, shapes: Mapping[str, Any]) -> None:
    is_mlp = about["kind"] == "MLP"
    try:
        states.check_names("the model", rest, [*shapes, *_ABOUT, *["sizes"] * is_mlp])
    except ValueError as error:
        raise Unfit(str(error)) from None
    if is_mlp and np.asarray(rest["sizes"]).tolist() != sizes_of(about):
        raise Unfit(f"sizes is {rest['sizes']}, but the layers are {sizes_of(about)}")


# ---- what a prediction needs besides the model --------------------------------------------------


def _scaling_of(given: Any) -> Scaling:
    """Check and convert.

    Raises:
        TypeError, ValueError: says what is wrong.
    """
    if not isinstance(given, (tuple, list)) or not 2 <= len(given) <= len(Scaling._fields):
        raise TypeError(f"scaling must be (mean, scale) or a Scaling, not {given!r}")
    scaling = Scaling(*given)
    mean, scale, *target = (
        _finite(f"scaling: {name}", value) for name, value in zip(Scaling._fields, scaling[:4])
    )
    if mean.ndim != 1 or mean.shape != scale.shape:
        raise ValueError(
            "scaling: mean and scale must have one number per input, not shapes "
            f"{mean.shape} and {scale.shape}"
        )
    if not np.all(scale):
        raise ValueError(f"scaling: scale is 0 at {np.flatnonzero(scale == 0.0).tolist()}")
    names = _strings("feature_names", scaling.feature_names)
    if names and len(names) != len(mean):
        raise ValueError(f"{len(names)} feature_names for {len(mean)} inputs")
    target_mean, target_scale = (x if x.ndim else float(x) for x in target)
    target_name = np.asarray(scaling.target_name).tolist()
    if not isinstance(target_name, str):
        raise TypeError(f"scaling: target_name must be a string, not {scaling.target_name!r}")
    return Scaling(mean, scale, target_mean, target_scale, names, target_name)


def _finite(what: str, given: Any) -> Floats:
    array = states.numbers(what, given, np.shape(given))
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite")
    return array


def _strings(what: str, given: Any) -> tuple[str, ...]:
    found = [] if given is None else np.asarray(given).tolist()
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise TypeError(f"{what} must be strings, not {given!r}")
    return tuple(found)


def _check_sizes(about: Any, scaling: Scaling | None, class_names: tuple[str, ...]) -> None:
    """Raise a ValueError if the model has another number of inputs or outputs."""
    inputs, outputs = inputs_of(about), outputs_of(about)
    if scaling is not None and inputs is not None and len(scaling.mean) != inputs:
        raise ValueError(f"scaling has {len(scaling.mean)} inputs, the model {inputs}")
    if scaling is not None and outputs is not None:
        for name, value in zip(Scaling._fields[2:4], scaling[2:4]):
            if np.shape(value) not in ((), (outputs,)):
                raise ValueError(f"scaling: {name} has shape {np.shape(value)}, not ({outputs},)")
    if class_names and outputs not in (None, len(class_names)):
        raise ValueError(f"{len(class_names)} class_names for {outputs} outputs")
