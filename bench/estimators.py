"""Measure pygradc.sklearn beside scikit-learn's own MLPs: `python bench/estimators.py`.

Each classifier is fitted to three quarters of the shipped digits, for each seed the same ones for
both, and scored on the rest; scikit-learn's behind a StandardScaler, which pygradc's has inside.
Training ends when the estimator says so: epochs and accuracy, pygradc's first, are means over the
seeds, seconds their medians, with the smallest and largest in brackets. They take turns in one
process, on one thread. Then one epoch of twenty, and a prediction of all rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported
sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pygradc.sklearn
from pygradc import datasets

SETTINGS: dict[str, dict[str, Any]] = {
    "the defaults: relu, Adam, 100 neurons": {},
    "tanh": {"activation": "tanh"},
    "two layers of 32": {"hidden_layer_sizes": (32, 32)},
    "batches of 32": {"batch_size": 32},
    "SGD with Nesterov's momentum": {"solver": "sgd", "learning_rate_init": 0.02},
    "L-BFGS": {"solver": "lbfgs"},
}
MAKERS: dict[str, Callable[..., Any]] = {
    "pygradc": pygradc.sklearn.MLPClassifier,
    "scikit-learn": lambda **given: make_pipeline(
        StandardScaler(), neural_network.MLPClassifier(**given)
    ),
}


def spread(times: list[float]) -> str:
    return f"{median(times):.2f} ({min(times):.2f}-{max(times):.2f})"


def ratio(times: dict[str, list[float]]) -> str:
    """Of pygradc's times by scikit-learn's, pair by pair: the median, and quartiles."""
    pairs = sorted(a / b for a, b in zip(times["pygradc"], times["scikit-learn"]))
    return f"{median(pairs):.2f} ({pairs[len(pairs) // 4]:.2f}-{pairs[-1 - len(pairs) // 4]:.2f})"


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fits(seeds: int) -> None:
    """Rows of the table of whole fits."""
    data = datasets.load("digits")
    print("| digits | s a fit, pygradc | scikit-learn | ratio | epochs | right, of the test rows |")
    print("|---|--:|--:|--:|--:|--:|")
    for what, given in SETTINGS.items():
        took: dict[str, list[float]] = {who: [] for who in MAKERS}
        epochs: dict[str, list[int]] = {who: [] for who in MAKERS}
        right: dict[str, list[float]] = {who: [] for who in MAKERS}
        for seed in range(seeds):
            X, X_test, y, y_test = train_test_split(
                data.features, data.labels, random_state=seed, stratify=data.labels
            )
            for who, make in MAKERS.items():
                model = make(random_state=seed, max_iter=1000, **given)
                took[who].append(timed(lambda model=model, X=X, y=y: model.fit(X, y)))
                right[who].append(model.score(X_test, y_test))
                epochs[who].append(getattr(model, "n_iter_", None) or model[-1].n_iter_)
        columns = [
            *map(spread, took.values()),
            ratio(took),
            ", ".join(f"{mean(counts):.0f}" for counts in epochs.values()),
            ", ".join(f"{mean(scores):.1%}" for scores in right.values()),
        ]
        print(f"| {what} | {' | '.join(columns)} |", flush=True)


def pieces(rounds: int) -> None:
    """Rows of the table of single epochs and predictions."""
    data = datasets.load("digits")
    X, y, count = data.features, data.labels, 20
    print("\n| digits, all rows, ms | an epoch, pygradc | scikit-learn | ratio | predict: ratio |")
    print("|---|--:|--:|--:|--:|")
    for what, given in SETTINGS.items():
        if given.get("solver") == "lbfgs":
            continue
        epoch: dict[str, list[float]] = {who: [] for who in MAKERS}
        ask: dict[str, list[float]] = {who: [] for who in MAKERS}
        for _ in range(rounds):
            for who, make in MAKERS.items():
                model = make(random_state=0, max_iter=count, n_iter_no_change=count + 1, **given)
                epoch[who].append(timed(lambda model=model: model.fit(X, y)) / count * 1e3)
                model.predict(X)
                ask[who].append(timed(lambda model=model: model.predict(X)) * 1e3)
        columns = [*map(spread, epoch.values()), ratio(epoch), ratio(ask)]
        print(f"| {what} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    fits(arguments.seeds)
    pieces(arguments.rounds)
