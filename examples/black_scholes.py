"""A call option's price and its Greeks: write the price, and let `pygradc.grad` derive the rest.

The Black-Scholes price of a European call is one formula. What traders watch are its derivatives:
delta and vega, the first ones by the stock's price and by its volatility, and gamma and vanna,
which derive delta again, by either. Here they are four calls of `grad` inside of one recorded
function, which is replayed in C for a whole table of options; the closed forms, which one looks up
in a book, agree to 12 digits.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

import pygradc
from pygradc import Value, grad

RATE = 0.03  # of interest, a year, compounded continuously
NAMES = ("price", "delta", "vega", "gamma", "vanna")
Array = npt.NDArray[np.float64]


def normal(x: Value) -> Value:
    """The share of a normal distribution below x."""
    return 0.5 * (1.0 + (x / math.sqrt(2.0)).erf())


def price(spot: Value, volatility: Value, strike: Value, years: Value) -> Value:
    """What the right to buy at the strike is worth today, years before it ends."""
    spread = volatility * years.sqrt()
    d1 = ((spot / strike).log() + RATE * years) / spread + 0.5 * spread
    discounted = strike * (-RATE * years).exp()
    return spot * normal(d1) - discounted * normal(d1 - spread)


@pygradc.compile
def greeks(spot: Value, volatility: Value, strike: Value, years: Value) -> list[Value]:
    value = price(spot, volatility, strike, years)
    delta, vega = grad(value, [spot, volatility])
    gamma, vanna = grad(delta, [spot, volatility])
    return [value, delta, vega, gamma, vanna]


def by_the_book(spot: Array, volatility: Array, strike: Array, years: Array) -> Array:
    """The same five columns by their closed forms: Hull, Options, Futures, ch. 15 and 19."""
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + RATE * years) / spread + 0.5 * spread
    d2 = d1 - spread
    below = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0)))
    density = np.exp(-0.5 * d1**2) / math.sqrt(2.0 * math.pi)
    return np.stack(
        [
            spot * below(d1) - strike * np.exp(-RATE * years) * below(d2),
            below(d1),
            spot * density * np.sqrt(years),
            density / (spot * spread),
            -density * d2 / volatility,
        ],
        axis=1,
    )


def options() -> list[Array]:
    """A row an option: spots, volatilities, strikes and years, each with each."""
    grid = np.meshgrid(
        np.linspace(60.0, 140.0, 33), np.linspace(0.1, 0.6, 11), [80.0, 100.0], [0.25, 1.0, 3.0]
    )
    return [column.ravel() for column in grid]


def main() -> None:
    columns = options()
    found, expected = greeks.map(*columns), by_the_book(*columns)
    error = np.abs(found - expected) / (1.0 + np.abs(expected))
    print(f"{len(found):,} options from one program of {len(greeks.programs[0])} instructions")
    for name, largest in zip(NAMES, error.max(axis=0)):
        print(f"{name:>6}: largest error {largest:.1e}")
    at_the_money = greeks.map([100.0], [0.2], [100.0], [1.0])[0]
    print(*(f"{name} {number:.6f}" for name, number in zip(NAMES, at_the_money)), sep=", ")
    assert error.max() < 1e-12


if __name__ == "__main__":
    main()
