"""`minimize`: scipy's minimizers, with the derivatives of a recording.

scipy moves a vector. An evaluation writes it to the parameters in one call into C, replays all rows
and reads their mean with its gradient; products with the Hessian come from the same program. What
scipy can't know is kept here: the number of the evaluation, the best point so far, the callback.
A plain function is evaluated as it stands, with `backward()` and `grad`.
Nocedal & Wright, Numerical Optimization, 2006; source of the products: csrc/replay/tangent.c.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pygradc import optim
from pygradc.core import arrays
from pygradc.core.refusals import refuse
from pygradc.core.scalar import core
from pygradc.derivatives import grad
from pygradc.recorded.compiled import Compiled
from pygradc.recorded.fitting import _Claim
from pygradc.recorded.minimized import (
    Recorded,
    called,
    check_keywords,
    in_our_name,
    is_computed_from,
)
from pygradc.recorded.parallel import sharers
from pygradc.recorded.program import Program
from pygradc.recorded.rows import Floats
from pygradc.value import Value, sum

if TYPE_CHECKING:
    pass

_NUMBERS, _GRADIENTS, _PRODUCTS, _MATRICES = range(4)  # what a method asks for
METHODS = {
    **dict.fromkeys(("Nelder-Mead", "Powell", "COBYLA", "COBYQA"), _NUMBERS),
    **dict.fromkeys(("CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP"), _GRADIENTS),
    **dict.fromkeys(("Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"), _PRODUCTS),
    **dict.fromkeys(("dogleg", "trust-exact"), _MATRICES),
}


class Minimum(Protocol):
    """scipy's OptimizeResult: what every method sets, and what only some do, such as nit."""

    x: Floats
    fun: float
    success: bool
    status: int
    message: str
    nfev: int

    def __getattr__(self, name: str) -> Any: ...


def minimize(
    function: Compiled | Program | Callable[[], Value],
    parameters: Any,
    *data: Any,
    method: str = "L-BFGS-B",
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    options: dict[str, Any] | None = None,
    callback: Callable[[int, float], Any] | None = None,
    workers: int | None = None,
    **static: Any,
) -> Minimum:
    """Minimize a function of parameters by scipy.optimize.minimize.

    >>> import pygradc
    >>> x, y = pygradc.Value(-1.2), pygradc.Value(1.0)
    >>> rosenbrock = pygradc.compile(lambda: (1 - x) ** 2 + 100 * (y - x * x) ** 2)
    >>> result = pygradc.minimize(rosenbrock, [x, y], method="trust-ncg")
    >>> print(f"{x.data:.4f} {y.data:.4f} {result.message}")
    1.0000 1.0000 Optimization terminated successfully.

    No gradient of a Value changes; but where a plain function computes with Values other than
    `parameters`, its `backward()` adds to theirs.

    Args:
        function: A compiled function of one row, or a program, that returns one Value: its mean
            over the rows is minimized. Or a plain function without arguments that returns a Value.
        parameters: A list of Values, or an object with `parameters()`; they start where they are.
        data: The arguments of a compiled function, arrays with the row as first axis, or none.
        method: One of `METHODS`. Those that ask for a gradient, for products with the Hessian, or
            for the Hessian itself get it.
        bounds, constraints, tol, options: As scipy takes them, of the vector of parameters.
        callback: Called after each iteration as callback(iteration, f), iterations counted from 1,
            with the parameters at that point; True ends the minimization.
        workers: Threads that share the rows, as in `f.mean`.
        static: Keyword arguments of a compiled function.
    Returns:
        scipy's OptimizeResult. The parameters are at its x, converged or not.
    Raises:
        ImportError: there is no scipy.
        TypeError, ValueError: an argument isn't as above, or the data contain nan; says what was
            expected. The function doesn't depend on the parameters, or one that it captured was
            computed from them before. scipy's own, for what it is passed.
        FloatingPointError: f, its gradient or a product isn't finite, a row leaves an op's domain,
            or the method asks for a point that isn't finite: names evaluation, counted from 1, and
            parameter. A function compiled with errors="ignore" passes such numbers on to scipy.
        RuntimeError: another thread is fitting one of the parameters.
        On any exception, Ctrl-C too, the parameters are at the best point evaluated: finite, within
        the bounds, with the least f; with constraints, or without such a point, where they started.
    """
    refuse("minimize()")
    asked = _asked(method)
    given = _listed(parameters)
    by = sharers(None, workers)
    if callback is not None and not callable(callback):
        raise TypeError(f"minimize: callback must be a function, not {type(callback).__name__}")
    optimize = _scipy()
    with in_our_name():
        claim = _Claim(given)
        claim.take()
    try:
        evaluated: Recorded | _Plain
        if isinstance(function, (Compiled, Program)):
            evaluated = Recorded(function, given, data, by, static)
        else:
            evaluated = _Plain(function, given, data, static)
        box = _Box(bounds, constraints, len(given))
        passed = {"bounds": box.bounds, "constraints": constraints, "tol": tol, "options": options}
        with _Search(evaluated, given, asked, method, callback, box) as search:
            result: Minimum = search.run(optimize, passed)
            return result
    finally:
        claim.give_up()


# ---- arguments ----------------------------------------------------------------------------------


def _asked(method: Any) -> int:
    known = {name.lower(): asked for name, asked in METHODS.items()}
    if isinstance(method, str) and method.lower() in known:
        return known[method.lower()]
    raise ValueError(f"minimize: method={method!r} is none of {', '.join(METHODS)}")


def _listed(parameters: Any) -> list[Value]:
    if callable(getattr(parameters, "parameters", None)):
        parameters = parameters.parameters()
    if isinstance(parameters, Value):
        raise TypeError("minimize: expected a list of Values, not one: minimize(f, [w], ...)")
    try:
        listed = list(parameters)
    except TypeError:
        raise TypeError(
            "minimize: expected parameters after the function, a list of Values or a model, not "
            f"{type(parameters).__name__}"
        ) from None
    optim.check_parameters("minimize", listed)
    return listed


def _scipy() -> Any:
    try:
        from scipy import optimize
    except ImportError:
        raise ImportError("minimize needs scipy: pip install scipy") from None
    return optimize


class _Box:
    """Where a point may be kept that isn't scipy's answer."""

    def __init__(self, bounds: Any, constraints: Any, count: int) -> None:
        self.is_constrained = not isinstance(constraints, Sequence) or len(constraints) > 0
        self.bounds: Any = bounds
        self.low: Any = -math.inf
        self.high: Any = math.inf
        if hasattr(bounds, "lb"):
            self.low, self.high = bounds.lb, bounds.ub
        elif bounds is not None:
            self.bounds = pairs = list(bounds)
            if len(pairs) != count or any(np.shape(pair) != (2,) for pair in pairs):
                raise ValueError(
                    f"minimize: expected bounds of {count} pairs, a low and a high for each "
                    "parameter, or scipy's Bounds"
                )
            self.low = np.array([-math.inf if low is None else low for low, _ in pairs])
            self.high = np.array([math.inf if high is None else high for _, high in pairs])

    def holds(self, x: Floats) -> bool:
        return not self.is_constrained and bool(np.all((x >= self.low) & (x <= self.high)))


# ---- what is minimized --------------------------------------------------------------------------


class _Plain:
    """A plain function without arguments, evaluated as it stands."""

    is_guarded = True

    def __init__(
        self, function: Any, parameters: list[Value], data: tuple[Any, ...], static: dict[str, Any]
    ) -> None:
        if not callable(function):
            raise TypeError(f"minimize: expected a function, not {type(function).__name__}")
        check_keywords(function, static)
        if data:
            raise TypeError(
                f"minimize: {len(data)} arrays for a plain function: write @pygradc.compile above "
                "it to minimize its mean over rows, or pass a function without arguments"
            )
        for i, p in enumerate(parameters):
            if is_computed_from(p, parameters):
                raise ValueError(
                    f"minimize: {called(i, p)} was computed from other parameters, and would "
                    "not move with them: pass only those"
                )
        self.function, self.parameters = function, parameters
        self.depends = False

    def _result(self) -> Value:
        y = self.function()
        if not isinstance(y, Value):
            raise TypeError(f"minimize: the function must return a Value, not {type(y).__name__}")
        return y

    def value(self) -> float:
        return self._result().data

    def both(self) -> tuple[float, Floats]:
        y, parameters = self._result(), self.parameters
        self.depends = self.depends or y in parameters or is_computed_from(y, parameters)
        if not self.depends:
            raise ValueError(
                "minimize: the function's result doesn't depend on the parameters: it must be "
                "computed from these Values, not from their data, and outside of no_grad()"
            )
        before = arrays.grads(parameters)
        core.zero_grad(parameters)
        try:
            y.backward()
            return y.data, arrays.grads(parameters)
        finally:
            core.write(parameters, arrays.data(parameters), before)

    def product(self, v: Floats) -> Floats:
        y = self._result()
        try:
            slopes = grad(y, self.parameters)
            along = sum([slope * float(number) for slope, number in zip(slopes, v)])
            return arrays.data(grad(along, self.parameters))
        except TypeError as error:
            raise TypeError(
                "minimize: this method asks for second derivatives, and the function's result has "
                "none: pass a compiled function, or a method such as 'L-BFGS-B' that asks for "
                f"first ones only ({error})"
            ) from error


# ---- the search ---------------------------------------------------------------------------------


class _Search:
    """What scipy calls, and what is known of the points that it asked for.

    As a context it leaves the parameters at scipy's answer, or after an exception at the best
    point.
    """

    def __init__(
        self,
        evaluated: Recorded | _Plain,
        parameters: list[Value],
        asked: int,
        method: str,
        callback: Callable[[int, float], Any] | None,
        box: _Box,
    ) -> None:
        self.evaluated, self.parameters, self.box = evaluated, parameters, box
        self.asked, self.method, self.callback = asked, method, callback
        self.evaluations = self.iterations = 0
        self.end = self.start = arrays.data(parameters)
        self.least, self.best = math.inf, 0  # f at self.end, and its evaluation; 0: the start
        self.last: tuple[Floats, float] = (np.empty(0), math.nan)
        self.stopped = False

    def __enter__(self) -> _Search:
        return self

    def __exit__(self, *_: object) -> None:
        self._move(self.end)

    def run(self, optimize: Any, passed: dict[str, Any]) -> Any:
        more: dict[str, Any] = {}
        if self.asked >= _GRADIENTS:
            more["jac"] = True
        if self.asked == _PRODUCTS:
            more["hessp"] = self.product
        if self.asked == _MATRICES:
            more["hess"] = self.matrix
        if self.callback is not None:
            more["callback"] = self.after_iteration
        evaluate = self.value if self.asked == _NUMBERS else self.both
        try:
            result = optimize.minimize(
                evaluate, self.start.copy(), method=self.method, **more, **passed
            )
        except StopIteration:
            if not self.stopped:
                raise
            result = self._stopped(optimize)  # the method passes the callback's end on
        if np.isfinite(result.x).all() and np.isfinite(result.fun):
            self.end = np.array(result.x, dtype=np.float64)
        return result

    def _stopped(self, optimize: Any) -> Any:
        x, f = self.last
        count = {"nfev": self.evaluations, "nit": self.iterations}
        what = "the callback returned True"
        return optimize.OptimizeResult(x=x, fun=f, success=False, status=99, message=what, **count)

    def _move(self, x: Floats) -> None:
        core.assign(self.parameters, np.ascontiguousarray(x, dtype=np.float64), x.shape)

    def value(self, x: Floats) -> float:
        f: float = self._at(x, self.evaluated.value)
        self._note(x, f)
        return f

    def both(self, x: Floats) -> tuple[float, Floats]:
        f, gradient = self._at(x, self.evaluated.both)
        self._note(x, f, gradient)
        return f, gradient

    def product(self, x: Floats, v: Floats) -> Floats:
        self._move(x)
        what = f"a product with the Hessian, after evaluation {self.evaluations}"
        with self._named(what):
            found = self.evaluated.product(np.ravel(v))
        self._check_each(f"{what}: the entry of", found, "is")
        return found

    def matrix(self, x: Floats) -> Floats:
        return np.array([self.product(x, unit) for unit in np.eye(len(x))])

    def _at(self, x: Floats, evaluate: Callable[[], Any]) -> Any:
        """Evaluate at x, under the number of this evaluation."""
        self.evaluations += 1
        what = f"evaluation {self.evaluations}"
        self._check_each(f"{what}: {self.method} would set", x, "to")
        self._move(x)
        with self._named(what):
            return evaluate()

    def _note(self, x: Floats, f: float, gradient: Floats | None = None) -> None:
        """Require finite numbers, and keep the point if it is the best."""
        if self.evaluated.is_guarded and not math.isfinite(f):
            self._fail(f"evaluation {self.evaluations}: f is {f} at {self._shown(x)}")
        if gradient is not None:
            what = f"evaluation {self.evaluations}: f is {f}, but its derivative by"
            self._check_each(what, gradient, "is")
        self.last = np.array(x), f
        if f < self.least and math.isfinite(f) and self.box.holds(x):
            self.least, self.best, self.end = f, self.evaluations, self.last[0]

    def after_iteration(self, x: Floats, *_: Any) -> None:
        assert self.callback is not None
        self.iterations += 1
        if not np.array_equal(x, self.last[0]):  # a step was refused since
            self.last = np.array(x), self._f(x)
        self._move(x)
        answer = self.callback(self.iterations, self.last[1])
        if answer is True or (isinstance(answer, np.bool_) and bool(answer)):
            self.stopped = True
            raise StopIteration

    def _f(self, x: Floats) -> float:
        if self.best and np.array_equal(x, self.end):
            return self.least
        self._move(x)
        return self.evaluated.value()

    # ---- errors

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except FloatingPointError as error:
            self._fail(f"{what}: {error}", getattr(error, "row", None))

    def _check_each(self, what: str, numbers: Floats, link: str) -> None:
        """Require a finite number for each parameter."""
        if self.evaluated.is_guarded and not np.isfinite(numbers).all():
            i = int(np.argmin(np.isfinite(numbers)))
            self._fail(f"{what} {called(i, self.parameters[i])} {link} {numbers[i]}")

    def _shown(self, x: Floats) -> str:
        some = [f"{called(i, self.parameters[i])} = {x[i]:.6g}" for i in range(min(len(x), 4))]
        return ", ".join(some + ["..."] * (len(x) > 4))

    def _fail(self, what: str, row: int | None = None) -> None:
        place = f"those of evaluation {self.best}, the best" if self.best else "as they started"
        remedy = "bounds= keeps a method from such points"
        if self.evaluations == 1:
            remedy = "check the parameters, the constants and the data"
        error = FloatingPointError(f"minimize: {what}; the parameters are {place}: {remedy}")
        error.evaluation = self.evaluations  # type: ignore[attr-defined]
        if row is not None:
            error.row = row  # type: ignore[attr-defined]
        raise error from None
