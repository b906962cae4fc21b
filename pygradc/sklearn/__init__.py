"""scikit-learn's estimators on recorded networks: `MLPClassifier`, `MLPRegressor`.

    from pygradc.sklearn import MLPClassifier
    MLPClassifier(random_state=0).fit(X, y).score(X, y)

Constructor arguments are those of scikit-learn's classes of these names, with the same defaults and
meaning; what can't be carried is refused. Other than there, inputs and a regression's targets are
standardized inside.

    settings.py     checks of the arguments
    rows.py         weights of rows, and their scaling
    network.py      the model and its loss, made of arrays and read back into them
    progress.py     after each epoch: has it converged, the next learning rate, the best weights
    training.py     one call of fit: optimizers, minibatches, L-BFGS
    estimators.py   the classes

Only here is scikit-learn imported; it is an extra.
"""

from __future__ import annotations

try:
    from sklearn.utils.validation import validate_data as _needed  # noqa: F401  since 1.6
except ImportError as error:
    raise ImportError(
        'pygradc.sklearn needs scikit-learn 1.6 or newer: pip install "pygradc[sklearn]"'
    ) from error

from pygradc.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
