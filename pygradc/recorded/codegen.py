"""Translate a program to C: a standalone file with a value and a gradient function.

The statements are those of the replay of one row, from the formulas of csrc/ops/ops.def, so that
the bits are those of exact mode. A program of fast mode becomes C with libm's functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pygradc._core import lib
from pygradc.core.ops import ROWS
from pygradc.recorded.code import Code, Instruction

_HEAD = """\
/* {name}.c - {title}
 *
 * Written by pygradc; needs nothing but this file and the C library's math:
 *     cc -std=c11 -O2 -c {name}.c
 * {inputs} inputs, {params} parameters, {outputs} outputs.
 * A row outside an op's domain gives inf or nan.
 */
#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
"""

_SIGMOID = """
/* No overflow at either end. */
static inline double sigmoid(double a) {
    return a >= 0.0 ? 1.0 / (1.0 + exp(-a)) : exp(a) / (1.0 + exp(a));
}
"""

_SATURATED = """
/* Is |y| so close to 1 that 1 - |y| has lost digits? */
static inline int saturated(double y) { return fabs(y) > 0.96875; }
"""

_SIGMOID_SLOPE = """
/* sigmoid'(a), to full precision. */
static inline double sigmoid_slope(double a) {
    const double e = exp(-fabs(a));
    return e / ((1.0 + e) * (1.0 + e));
}
"""

_SQUARE_ERROR = """
/* a^2 - a * a: the rounding error of the product. */
static inline double square_error(double a) {
    const double shifted = 134217729.0 * a, upper = shifted - (shifted - a);
    const double error = (upper * upper - a * a) + (a - upper) * (a + upper);
    return fabs(a) < 28.0 ? error : 0.0;
}
"""

_SCALED_HYPOT = """
/* sqrt(a^2 + b^2): no square overflows, nor loses digits among the subnormals. */
static inline double scaled_hypot(double a, double b) {
    const double larger = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    const double scale = larger > 0x1p500 ? 0x1p-600 : larger < 0x1p-500 ? 0x1p600 : 1.0;
    const double u = a * scale, v = b * scale;
    return isinf(a) || isinf(b) ? INFINITY : sqrt(u * u + v * v) / scale;
}
"""

_PRODUCT = """
/* slope * g; 0 where g is 0, even if the slope is infinite or undefined. */
static inline double product(double slope, double g) { return g != 0.0 ? slope * g : 0.0; }
"""

_PYTHON_MOD = """
/* a % b of Python's floats; nan where b is 0. */
static inline double python_mod(double a, double b) {
    const double rest = fmod(a, b);
    if (rest == 0.0) return copysign(0.0, b);
    return (b < 0.0) != (rest < 0.0) ? rest + b : rest;
}
"""

_TAKE = """
/* The entry of this index; nan if it names none. */
static inline double take(double index, int count, const double *entries) {
    const int inside = index >= 0.0 && index < count;
    return inside && index == (double)(int)index ? entries[(int)index] : NAN;
}
"""

_GATHER = """
/* The entry of this index; 0 if it names none. */
static inline double gather(double index, int count, const double *entries) {
    const int inside = index >= 0.0 && index < count;
    return inside && index == (double)(int)index ? entries[(int)index] : 0.0;
}
"""

_SCATTER = """
/* Add each number to the sum that its index names. Sums without a summand are 0; those with one
 * start from -0.0, which changes no first summand. */
static inline void scatter(double *sums, int parts, int count, const double *numbers,
                           const double *indices) {
    for (int k = 0; k < parts; k++) sums[k] = 0.0;
    for (int adding = 0; adding < 2; adding++)
        for (int i = 0; i < count; i++) {
            const double index = indices[i];
            if (!(index >= 0.0 && index < parts) || index != (double)(int)index) continue;
            sums[(int)index] = adding ? sums[(int)index] + numbers[i] : -0.0;
        }
}
"""

_SEARCH = """
/* How many of the sorted knots are below x; right: or equal to it. nan is above all. */
static inline double search_{side}(double x, int count, const double *knots) {{
    int from = 0;
    while (count > 0) {{
        const int half = count / 2, after = !(x {sign} knots[from + half]);
        from += after ? half + 1 : 0;
        count = after ? count - half - 1 : half;
    }}
    return from;
}}
"""

_PYTHON_FLOORDIV = """
/* a // b of Python's floats; nan where b is 0. */
static inline double python_floordiv(double a, double b) {
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0.0 && (b < 0.0) != (rest < 0.0)) quotient -= 1.0;
    if (quotient == 0.0) return copysign(0.0, a / b);
    const double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1.0 : whole;
}
"""

_GATED = """
/* a * b; 0 where b is 0 and a is infinite or nan. */
static inline double gated(double a, double b) {
    const double product = a * b;
    return isnan(product) && b == 0.0 ? 0.0 : product;
}
"""

_NORMAL_DENSITY = """
/* exp(-a^2 / 2) / sqrt(2 pi). */
static inline double normal_density(double a) {
    const double half = 0.5 * a, bell = exp(-2.0 * (half * half));
    return 0.3989422804014327 * (bell * (1.0 - 2.0 * square_error(half)));
}
"""

_LOG_NDTR_SLOPE = """
/* The derivative of log_ndtr: density over distribution. Below -5 by Laplace's continued fraction,
 * -a + 1/(-a + 2/(-a + ...)), whose last digit 60 terms reach there.
 * Source: Abramowitz and Stegun 26.2.14. */
static inline double log_ndtr_slope(double a) {
    if (a > -5.0) return normal_density(a) / (0.5 * erfc(-0.7071067811865476 * a));
    double fraction = -a;
    for (int k = 60; k > 0; k--) fraction = -a + k / fraction;
    return fraction;
}
"""

_LOG_NDTR_EXCESS = """
/* a + log_ndtr_slope(a), which cancels in the tail: there it is the fraction's second term. */
static inline double log_ndtr_excess(double a) {
    if (a > -5.0) return a + log_ndtr_slope(a);
    double fraction = -a;
    for (int k = 60; k > 1; k--) fraction = -a + k / fraction;
    return 1.0 / fraction;
}
"""

_LOG_NDTR_BEND = """
/* The second derivative of log_ndtr: its limits are -1 and 0. */
static inline double log_ndtr_bend(double a) {
    return a == -INFINITY ? -1.0 : -gated(log_ndtr_excess(a), log_ndtr_slope(a));
}
"""

_HYPOT_SLOPE = """
/* The share of a in the root of a^2 + b^2: 1 or -1 where only a is infinite. */
static inline double hypot_slope(double a, double b) {
    const double ratio = a / scaled_hypot(a, b);
    return isinf(a) && isfinite(b) ? copysign(1.0, a) : ratio;
}
"""

_OVER_SQUARES = """
/* a / sum, of squares of a and another number; 0 where the sum is infinite, even if a is. */
static inline double over_squares(double a, double sum) {
    return isinf(sum) ? copysign(0.0, a) : a / sum;
}
"""

_LOG_NDTR = """
/* The logarithm of the normal distribution function. */
static inline double log_ndtr(double a) {
    if (a > -1.0) return log1p(-0.5 * erfc(0.7071067811865476 * a));
    if (a > -5.0) return log(0.5 * erfc(-0.7071067811865476 * a));
    return -0.5 * (a * a) - 0.9189385332046727 - log(log_ndtr_slope(a));
}
"""

_HORNER = """
/* c[0] x^(n-1) + ... + c[n-1] */
static inline double horner(const double *c, int count, double x) {
    double total = 0.0;
    for (int i = 0; i < count; i++) total = total * x + c[i];
    return total;
}
"""

_DIGAMMA_ABOVE_0 = """
/* digamma of a > 0: between 1 and 2 relative to the root there, elsewhere by recurrence, or from 10
 * on by the asymptotic series. Source: Boost.Math, digamma.hpp (Maddock; 53 bits). */
static inline double digamma_above_0(double a) {
    static const double near_root[] = {-0.0020713321167745952, -0.045251321448739056,
                                       -0.28919126444774784,   -0.65031853770896507,
                                       -0.32555031186804491,   0.25479851061131551};
    static const double below[] = {-0.55789841321675513e-6, 0.0021284987017821144,
                                   0.054151797245674225,    0.43593529692665969,
                                   1.4606242909763515,      2.0767117023730469,
                                   1.0};
    static const double far[] = {1.0 / 12.0,  -691.0 / 32760.0, 1.0 / 132.0, -1.0 / 240.0,
                                 1.0 / 252.0, -1.0 / 120.0,     1.0 / 12.0};
    if (a >= 10.0) {
        const double z = 1.0 / (a * a);
        return log(a) - 0.5 / a - z * horner(far, 7, z);
    }
    double sum = 0.0;
    if (a < 1.0) {
        sum = -1.0 / a;
        a += 1.0;
    }
    while (a > 2.0) {
        a -= 1.0;
        sum += 1.0 / a;
    }
    double from_root = a - 1569415565.0 / 1073741824.0;
    from_root -= 381566830.0 / 1073741824.0 / 1073741824.0;
    from_root -= 0.9016312093258695918615325266959189453125e-19;
    const double ratio = horner(near_root, 6, a - 1.0) / horner(below, 7, a - 1.0);
    return sum + (from_root * 0.99558162689208984 + from_root * ratio);
}
"""

_DIGAMMA = """
/* The derivative of lgamma; nan at its poles, 0, -1, -2 ... and at -inf. */
static inline double digamma(double a) {
    if (isnan(a) || a == INFINITY) return a;
    if (a > 0.0) return digamma_above_0(a);
    if (a == floor(a)) return NAN;
    const double turn = 3.141592653589793 * (a - rint(a));
    return digamma_above_0(1.0 - a) - 3.141592653589793 / tan(turn);
}
"""

_ADD_ZETA = """
/* sum, and the sum of (x + k)^-s over k = 0, 1, 2 ... by Euler and Maclaurin, with Bernoulli's
 * numbers B(2j) / (2j)!; in units of u, given x^(1-s) / u and x^-s / u.
 * Source: Abramowitz and Stegun 23.1.30. */
static inline double add_zeta(double sum, double s, double x, double first, double power) {
    static const double bernoulli[] = {1.0 / 12.0,
                                       -1.0 / 720.0,
                                       1.0 / 30240.0,
                                       -1.0 / 1209600.0,
                                       1.0 / 47900160.0,
                                       -691.0 / 1307674368000.0,
                                       1.0 / 74724249600.0,
                                       -3617.0 / 10670622842880000.0};
    sum += first / (s - 1.0) + 0.5 * power;
    double rising = s / x * power;
    for (int j = 0; j < 8; j++) {
        sum += bernoulli[j] * rising;
        rising *= (s + (2.0 * j + 1.0)) / x * ((s + (2.0 * j + 2.0)) / x);
    }
    return sum;
}
"""

_HURWITZ_ZETA = """
/* The sum of (a + k)^-s over k = 0, 1, 2 ...: some terms, and the rest. */
static inline double hurwitz_zeta(double s, double a) {
    double sum = 0.0, k = 0.0;
    for (; a + k < 9.0 + s; k += 1.0) sum += pow(a + k, -s);
    const double x = a + k;
    return add_zeta(sum, s, x, pow(x, 1.0 - s), pow(x, -s));
}
"""

_POLYGAMMA = """
/* The n-th derivative of digamma; nan at poles, for an order that is no whole number from 0 to 100,
 * and at or below -1000, from where there would be too many terms. */
static inline double polygamma(double a, double n) {
    if (n == 0.0) return digamma(a);
    if (isnan(a) || !(0.0 < n && n <= 100.0 && n == floor(n) && a > -1000.0)) return NAN;
    if (a <= 0.0 && a == floor(a)) return NAN;
    if (isinf(a)) return 0.0;
    double factor = fmod(n, 2.0) == 1.0 ? 1.0 : -1.0;
    for (double k = 2.0; k <= n; k += 1.0) factor *= k;
    if (!(a > 500.0 && pow(a, -n) < 1e-290)) return factor * hurwitz_zeta(n + 1.0, a);
    const double half = pow(a, -0.5 * n); /* the sum would underflow: it is in units of a^-n */
    return factor * half * add_zeta(0.0, n + 1.0, a, 1.0, 1.0 / a) * half;
}
"""

_LOG_GAMMA = """
static inline double log_gamma(double a) { return lgamma(a); }
"""

# In the order of the file: a helper calls only those before it.
_HELPERS = {
    "product": _PRODUCT,
    "python_mod": _PYTHON_MOD,
    "python_floordiv": _PYTHON_FLOORDIV,
    "saturated": _SATURATED,
    "scaled_hypot": _SCALED_HYPOT,
    "hypot_slope": _HYPOT_SLOPE,
    "over_squares": _OVER_SQUARES,
    "sigmoid": _SIGMOID,
    "sigmoid_slope": _SIGMOID_SLOPE,
    "square_error": _SQUARE_ERROR,
    "take": _TAKE,
    "gather": _GATHER,
    "scatter": _SCATTER,
    "search_left": _SEARCH.format(side="left", sign="<="),
    "search_right": _SEARCH.format(side="right", sign="<"),
    "gated": _GATED,
    "normal_density": _NORMAL_DENSITY,
    "log_ndtr_slope": _LOG_NDTR_SLOPE,
    "log_ndtr_excess": _LOG_NDTR_EXCESS,
    "log_ndtr_bend": _LOG_NDTR_BEND,
    "log_ndtr": _LOG_NDTR,
    "log_gamma": _LOG_GAMMA,
    "horner": _HORNER,
    "digamma_above_0": _DIGAMMA_ABOVE_0,
    "digamma": _DIGAMMA,
    "add_zeta": _ADD_ZETA,
    "hurwitz_zeta": _HURWITZ_ZETA,
    "polygamma": _POLYGAMMA,
}

_LIBRARY = """
/* The library's functions, through volatile pointers: with constant arguments the compiler would
 * replace the calls by other functions, or by results, that may round differently. */
"""
# Correctly rounded everywhere.
_EXACT = {
    "fabs",
    "sqrt",
    "isnan",
    "isfinite",
    "copysign",
    "fmod",
    "isinf",
    "floor",
    "ceil",
    "trunc",
}


def _functions() -> dict[str, str]:
    """Those of libm that the table's formulas call and that round, each with its parameters."""
    texts = [text for op in ROWS for text in (op.value, *op.derivatives)] + [*_HELPERS.values()]
    calls = [call for text in texts for call in re.findall(r"\b([a-z]\w*)\(([^()]*)", text)]
    known = {*_HELPERS, *_EXACT, "__attribute__"}
    return {
        name: "double, double" if "," in arguments else "double"
        for name, arguments in calls
        if name not in known
    }


_FUNCTIONS = _functions()
_BY_B = {op.name: op.derivatives[-1] for op in ROWS}
_CALL = re.compile(rf"\b({'|'.join(_FUNCTIONS)})\(")


def translate(program: Any, name: str) -> str:
    """The C file as text.

    Args:
        program: a `Program`.
        name: a C identifier, the prefix of both functions.
    Raises:
        ValueError: name isn't an identifier.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"to_c: {name!r} is not a C identifier")
    code = Code(program._handle)
    size = code.size
    title = re.sub(r"[^\w<>. -]", "?", program._name) + ", recorded"
    head = _HEAD.format(
        name=name, title=title, inputs=size.inputs, params=size.params, outputs=size.outputs
    )
    body = "\n".join([*_value_function(code, name), *_gradient_function(code, program, name)])
    for helper_name, helper in reversed(_HELPERS.items()):
        if f"{helper_name}(" in body:
            body = f"{helper}\n{body}"
    used = sorted(set(_CALL.findall(body)))
    pointers = [
        f"static double (*const volatile library_{f})({_FUNCTIONS[f]}) = {f};\n" for f in used
    ]
    body = _CALL.sub(r"library_\1(", body)
    return (
        "\n".join([head, _LIBRARY.lstrip() + "".join(pointers), body] if used else [head, body])
        + "\n"
    )


# ---- names --------------------------------------------------------------------------------------


def _c(name: str) -> str:
    """The C expression for a name of the listing."""
    kind = re.fullmatch(r"(in|p)(\d+)", name)
    if kind:
        return f"{'inputs' if kind[1] == 'in' else 'params'}[{kind[2]}]"
    if re.fullmatch(r"[uv]\d+", name):
        return name
    return {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}.get(name, name)


def _expression(formula: str, **operands: str) -> str:
    """A formula of the op table with a, b and y substituted."""

    def replace(match: re.Match[str]) -> str:
        text = operands[match[0]]
        return f"({text})" if text.startswith("-") else text

    return re.sub(rf"\b({'|'.join(operands)})\b", replace, formula)


# ---- values -------------------------------------------------------------------------------------


def _value(instruction: Instruction) -> str:
    operands = [_c(operand) for operand in instruction.operands]
    if instruction.name in ("detach", "custom"):
        return operands[0]
    if instruction.name == "select":
        return f"{_condition(instruction)} ? {operands[0]} : {operands[1]}"
    if instruction.name in ("take", "search"):
        function = "take" if instruction.name == "take" else f"search_{instruction.side}"
        return f"{function}({operands[0]}, {len(operands) - 1}, {_array(operands[1:])})"
    if instruction.name == "part":
        return f"{operands[1]}[{operands[0]}]"
    if instruction.name == "dot":
        form = "gated({}, {})" if instruction.gated else "{} * {}"
        products = [form.format(_c(left), _c(right)) for left, right in instruction.pairs]
        return " + ".join([*operands[: instruction.starts], *products])
    return _expression(instruction.value, a=operands[0], b=operands[-1])


def _condition(instruction: Instruction) -> str:
    left, right = map(_c, instruction.operands[2:])
    condition = f"({left} {instruction.comparison} {right})"
    return f"!{condition}" if instruction.opposite else condition


def _array(elements: Iterable[str]) -> str:
    return f"(const double[]){{{', '.join(elements)}}}"


def _scatter(instruction: Instruction) -> Iterator[str]:
    """The sums, as an array under the scatter's own name."""
    sums, parts = instruction.result, len(instruction.parts)
    numbers, indices = zip(*((_c(number), _c(index)) for number, index in instruction.pairs))
    yield f"    double {sums}[{parts}];"
    yield f"    scatter({sums}, {parts}, {len(numbers)}, {_array(numbers)}, {_array(indices)});"


def _values(code: Code) -> Iterator[str]:
    used = {name for instruction in code.instructions() for name in instruction.operands}
    used.update(code.outputs())  # a scatter's parts are there without a use, too
    for instruction in code.instructions():
        if instruction.name == "scatter":
            yield from _scatter(instruction)
        elif instruction.name != "part" or instruction.result in used:
            yield f"    const double {instruction.result} = {_value(instruction)};"


def _results(code: Code) -> Iterator[str]:
    for i, output in enumerate(code.outputs()):
        yield f"    outputs[{i}] = {_c(output)};"


def _value_function(code: Code, name: str) -> Iterator[str]:
    yield f"/* outputs: {code.size.outputs} doubles. */"
    yield f"void {name}_value(const double *inputs, const double *params, double *outputs) {{"
    yield "    (void)inputs, (void)params;"
    yield from _values(code)
    yield from _results(code)
    yield "}"
    yield ""


# ---- gradients ----------------------------------------------------------------------------------


def _gradient_function(code: Code, program: Any, name: str) -> Iterator[str]:
    size = code.size
    plan = program._plan(lib.PG_WRT_PARAMS | lib.PG_WRT_INPUTS)
    yield f"/* outputs: {size.outputs}; input_gradients: {size.outputs} x {size.inputs};"
    yield f" * param_gradients: {size.outputs} x {size.params}. */"
    yield f"void {name}_gradient(const double *inputs, const double *params, double *outputs,"
    yield "    double *input_gradients, double *param_gradients) {"
    yield "    (void)inputs, (void)params, (void)input_gradients, (void)param_gradients;"
    yield from _values(code)
    yield from _results(code)
    for output, each in enumerate(plan.array):
        yield f"    {{ /* output {output} */"
        yield from _Backward(code, lib.pg_backward_plan_steps(each), output).lines()
        yield "    }"
    yield "}"


class _Backward:
    """The backward plan of one output as C: gradients are g_<name>, accumulators a<number>."""

    def __init__(self, code: Code, steps: Any, output: int) -> None:
        self.code, self.steps, self.output = code, steps, output

    def lines(self) -> Iterator[str]:
        steps, code = self.steps, self.code
        for i in range(steps.accumulators):
            yield f"        double a{i} = 0.0;"
        steps_back = list(self._steps())
        seed = self._gradient_of(code.row(steps.output))
        if not seed.startswith("g_"):
            yield f"        {seed} = 1.0;"
        elif any(re.search(rf"\b{seed}\b", line) for line in steps_back):
            yield f"        double {seed} = 1.0;"
        yield from steps_back
        yield from self._unreached()

    def _steps(self) -> Iterator[str]:
        steps, code = self.steps, self.code
        for i in range(steps.row_count):
            yield from self._step(steps.rows[i], code.row)
        for i in range(steps.uniform_count):
            step = steps.uniform[i]
            if step.instr == lib.PG_COLLECT:
                yield self._give(step.a, code.uniform, f"a{step.b.at}")
            else:
                yield from self._step(step, code.uniform)

    def _unreached(self) -> Iterator[str]:
        size = self.code.size
        for i in range(size.inputs):
            if not self.steps.input_reached[i]:
                yield f"        {self._gradient_of(f'in{i}')} = 0.0;"
        for i in range(size.params):
            if not self.steps.uniform_reached[size.constants + i]:
                yield f"        {self._gradient_of(f'p{i}')} = 0.0;"

    def _gradient_of(self, name: str) -> str:
        kind = re.fullmatch(r"(in|p)(\d+)", name)
        if not kind:
            return f"g_{name}"
        size = self.code.size
        if kind[1] == "in":
            return f"input_gradients[{self.output * size.inputs + int(kind[2])}]"
        return f"param_gradients[{self.output * size.params + int(kind[2])}]"

    def _give(self, target: Any, names: Any, amount: str) -> str:
        """Add a contribution to its target, or store it there."""
        if target.how == lib.PG_ACCUMULATE_FOLD:
            return f"        a{target.at} += {amount};"
        gradient = self._gradient_of(names(target.at))
        if target.how == lib.PG_ACCUMULATE_ADD:
            return f"        {gradient} += {amount};"
        declare = "double " if gradient.startswith("g_") else ""
        return f"        {declare}{gradient} = 0.0 + {amount};"

    def _step(self, step: Any, names: Any) -> Iterator[str]:
        instruction = self.code.instruction(step.instr)
        g = self._gradient_of(instruction.result)
        if instruction.name in ("dot", "custom"):
            yield from self._dot(step, instruction, names, g)
            return
        if instruction.name == "take":
            index = _c(instruction.operands[0])
            for i in reversed(range(len(instruction.operands) - 1)):
                target = self.steps.targets[step.first + 2 * i]
                if target.how != lib.PG_ACCUMULATE_NONE:
                    yield self._give(target, names, f"({index} == {i}.0 ? {g} : 0.0)")
            return
        if instruction.name == "scatter":
            yield from self._gather(step, instruction, names)
            return
        for which, target in enumerate((step.a, step.b)):
            if target.how != lib.PG_ACCUMULATE_NONE:
                yield self._give(target, names, _product(_derivative(instruction, which), g))

    def _gather(self, step: Any, scatter: Instruction, names: Any) -> Iterator[str]:
        targets, pairs, parts = self.steps.targets, scatter.pairs, scatter.parts
        sources = targets[step.first + 2 * len(pairs) : step.first + 2 * len(pairs) + len(parts)]
        reached = (source.how != lib.PG_ACCUMULATE_NONE for source in sources)
        gradients = [self._gradient_of(part) if has else "0.0" for part, has in zip(parts, reached)]
        for i in reversed(range(len(pairs))):
            target = targets[step.first + 2 * i]
            if target.how != lib.PG_ACCUMULATE_NONE:
                index = _c(pairs[i][1])
                amount = f"gather({index}, {len(parts)}, {_array(gradients)})"
                yield self._give(target, names, amount)

    def _dot(self, step: Any, dot: Instruction, names: Any, g: str) -> Iterator[str]:
        for i in reversed(range(len(dot.pairs))):
            if i == 0 and step.a.how != lib.PG_ACCUMULATE_NONE:
                yield self._give(step.a, names, g)
            left, right = map(_c, dot.pairs[i])
            for target, other in (
                (self.steps.targets[step.first + 2 * i], right),
                (self.steps.targets[step.first + 2 * i + 1], left),
            ):
                if target.how != lib.PG_ACCUMULATE_NONE:
                    yield self._give(target, names, _product(other, g))


def _product(slope: str, g: str) -> str:
    """slope * g; gradients start from 0.0, so the sign of a zero product makes no difference."""
    return g if slope == "1.0" else f"product({slope}, {g})"


def _derivative(instruction: Instruction, which: int) -> str:
    operands = [_c(operand) for operand in instruction.operands]
    if instruction.name == "select":
        return f"{_condition(instruction)} ? {('1.0 : 0.0', '0.0 : 1.0')[which]}"
    formula = _BY_B[instruction.name] if which else instruction.da
    return _expression(formula, a=operands[0], b=operands[-1], y=instruction.result)
