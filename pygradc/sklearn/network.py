"""The network of an estimator: a model, and the recorded loss of one row.

An estimator keeps arrays, which pickle; a Network is made of them when it is needed, and read back
into them after training. Its recordings, of the loss and of the outputs, live as long as it does.

The loss of a row is weight * loss(outputs, target) + penalty * |w|^2, with the row's weight and the
penalty as inputs, so that neither another alpha nor another batch needs a new recording; |w|^2,
without the biases, doesn't depend on the row and is computed once a batch.
Training replays in fast mode: for tanh and sigmoid that takes a third of the time, for relu the
same. Outputs are exact.
Source: pygradc/recorded/fitting.py, pygradc/minimizing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pygradc import losses, nn, optim
from pygradc.core import arrays
from pygradc.minimizing import minimize
from pygradc.recorded.callbacks import Epoch
from pygradc.recorded.compiled import compile
from pygradc.recorded.fitting import fit
from pygradc.recorded.rows import Floats
from pygradc.value import Value, dot


class Layers(NamedTuple):
    """The weights as scikit-learn has them, (inputs, neurons) and (neurons,) of each layer."""

    coefs: list[Floats]
    intercepts: list[Floats]


class Data(NamedTuple):
    """Rows to train on.

    Attributes:
        X: Standardized features, shape (n, inputs).
        y: Class indices or numbers, (n,); or (n, outputs).
        weights: (n,), with a mean of 1.
        penalty: What |w|^2 is multiplied with.
    """

    X: Floats
    y: Any
    weights: Floats
    penalty: float

    @property
    def columns(self) -> tuple[Any, ...]:
        """The arguments of the loss."""
        return self.X, self.y, self.weights, np.full(len(self.X), self.penalty)


class Nesterov(optim.SGD):
    """Momentum with a look-ahead: p -= lr * (grad + momentum * velocity), of the new velocity.

    Steps in Python: an epoch of digits takes three times as long as SGD's in C at batches of 200.
    Source: Sutskever et al., On the importance of initialization and momentum, 2013.
    """

    def step(self) -> None:
        velocity, gradients = self._velocity(), arrays.grads(self.parameters)
        ahead = gradients
        if velocity is not None:
            velocity *= self.momentum
            velocity += gradients
            ahead = gradients + self.momentum * velocity
        arrays.set_data(self.parameters, arrays.data(self.parameters) - self.lr * ahead)
        self.steps += 1


# ---- the loss of one row ------------------------------------------------------------------------


def _of_classes(outputs: Any, label: Any) -> Any:
    return losses.cross_entropy(outputs, label)


def _of_logits(outputs: Any, targets: Any) -> Any:
    """Of two classes, or the sum over several yes-or-no labels."""
    return losses.bce_with_logits(outputs, targets) * float(_count(outputs))


def _of_numbers(outputs: Any, targets: Any) -> Any:
    return losses.mse(outputs, targets) * (0.5 * _count(outputs))


def _count(outputs: Any) -> int:
    return len(outputs) if isinstance(outputs, list) else 1


LOSSES: dict[str, Callable[[Any, Any], Any]] = {  # by what makes predictions of outputs
    "softmax": _of_classes,
    "logistic": _of_logits,
    "identity": _of_numbers,
}


class Network:
    """A model with the weights of these layers, and its loss.

    Args:
        layers: At least one; the arrays become read-only.
        activation: Of the hidden layers, as `nn` names it.
        out_activation: One of `LOSSES`.
    """

    def __init__(self, layers: Layers, activation: str, out_activation: str) -> None:
        sizes = [len(layers.coefs[0]), *(len(b) for b in layers.intercepts)]
        self.model = nn.MLP(sizes[0], sizes[1:], activation, "linear", seed=0)
        self.layers = Layers(*map(list, layers))  # the caller's lists may change
        self.out_activation = out_activation
        self.parameters = self.model.parameters()
        arrays.set_data(self.parameters, _flat(layers))
        for array in (*layers.coefs, *layers.intercepts):
            array.setflags(write=False)
        self.loss = _recorded(self.model, LOSSES[out_activation])
        self._outputs = compile(self.model.__call__)

    def has(self, layers: Layers) -> bool:
        """Are these the very arrays that it was made of?"""
        own = [*self.layers.coefs, *self.layers.intercepts]
        given = [*layers.coefs, *layers.intercepts]
        return len(own) == len(given) and all(a is b for a, b in zip(own, given))

    def read(self) -> Layers:
        """The present weights, in new lists; it is made of them from now on."""
        flat = arrays.data(self.parameters)
        found = Layers([], [])
        for coefs, intercepts in zip(*self.layers):
            part, flat = np.split(flat, [coefs.size + intercepts.size])
            of_neurons = part.reshape(len(intercepts), -1)
            found.coefs.append(np.ascontiguousarray(of_neurons[:, :-1].T))
            found.intercepts.append(of_neurons[:, -1].copy())
        for array in (*found.coefs, *found.intercepts):
            array.setflags(write=False)
        self.layers = found
        return Layers(*map(list, found))

    def outputs(self, X: Floats) -> Floats:
        """Of standardized rows, exactly: shape (n, outputs)."""
        return np.asarray(self._outputs.map(X)).reshape(len(X), -1)

    def train(
        self,
        data: Data,
        optimizer: optim.Optimizer,
        batch_size: int,
        epochs: int,
        seed: int | None,
        after: Callable[[Epoch], Any],
    ) -> None:
        """Minibatches: at most so many epochs; ends when after(epoch) returns True.

        Args:
            seed: Of the order of rows; None: as they come.
        Raises:
            FloatingPointError: the loss or a step isn't finite.
        """
        fit(
            self.loss,
            *data.columns,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=seed is not None,
            seed=seed,
            callbacks=[after],
        )

    def minimize(self, data: Data, after: Callable[[int, float], Any], options: Any) -> Any:
        """L-BFGS over all rows; returns scipy's result."""
        return minimize(self.loss, self.parameters, *data.columns, callback=after, options=options)


def _flat(layers: Layers) -> Floats:
    """In the order of a model's parameters: each neuron's weights, then its bias."""
    blocks = [np.vstack([coefs, intercepts]).T for coefs, intercepts in zip(*layers)]
    return np.concatenate([block.ravel() for block in blocks])


def _recorded(model: nn.MLP, loss: Callable[[Any, Any], Any]) -> Any:
    weights = [w for layer in model.layers for neuron in layer.neurons for w in neuron.w]

    def of_row(x: Any, y: Any, weight: Any, penalty: Any) -> Value:
        value: Value = loss(model(x), y) * weight + dot(weights, weights) * penalty
        return value

    return compile(of_row, math="fast")


def first_layers(sizes: Sequence[int], activation: str, random: np.random.RandomState) -> Layers:
    """Initial weights and biases, the numbers that scikit-learn draws.

    Source: Glorot & Bengio (2010), eq. 16; a third of that variance for the logistic sigmoid.
    """
    factor = 2.0 if activation == "sigmoid" else 6.0
    layers = Layers([], [])
    for inputs, neurons in zip(sizes, sizes[1:]):
        limit = np.sqrt(factor / (inputs + neurons))
        layers.coefs.append(random.uniform(-limit, limit, (inputs, neurons)))
        layers.intercepts.append(random.uniform(-limit, limit, neurons))
    return layers
