"""Fit the polynomials of vmath.h and print each table with its error.

Weighted least squares on Chebyshev nodes in 50 digits. The coefficients are rounded to the element type from the lowest
power up, and the remaining ones are fitted again after each rounding, so that the rest makes a rounding error good.
Run: python csrc/kernels/fit_polynomials.py   (needs mpmath; the tables in vmath.h are its output).
"""

from collections.abc import Callable, Sequence

from mpmath import atanh, cos, erf, erfc, exp, expm1, ldexp, lu_solve, matrix, mp, mpf, nint, pi, sin, sqrt, tanh

Function = Callable[[mpf], mpf]
mp.dps = 50
BITS = {"float": 24, "double": 53}


def rounded(x: mpf, bits: int) -> mpf:
    """Return x rounded to a number with that many bits."""
    if x == 0:
        return x
    exponent = mp.frexp(x)[1]
    return ldexp(nint(ldexp(x, bits - exponent)), exponent - bits)


def horner(coefficients: Sequence[mpf], x: mpf) -> mpf:
    """Return the polynomial with these coefficients, lowest power first."""
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def fit(
    f: Function, weight: Function, low: float, high: float, degree: int, bits: int, parts: int = 1
) -> tuple[list[mpf], mpf]:
    """Return the rounded coefficients, lowest first, and the largest weighted error on [low, high].

    The lowest one is the sum of so many rounded `parts`.
    """
    n = 6 * (degree + 1)
    nodes = [(mpf(low) + high) / 2 + (mpf(high) - low) / 2 * cos(pi * (i + mpf(1) / 2) / n) for i in range(n)]
    values, weights = [f(x) for x in nodes], [weight(x) for x in nodes]
    done: list[mpf] = []
    while len(done) <= degree:
        powers = range(len(done), degree + 1)
        a = matrix([[w * x**k for k in powers] for x, w in zip(nodes, weights, strict=True)])
        b = matrix([w * (v - horner(done, x)) for x, v, w in zip(nodes, values, weights, strict=True)])
        best, near = lu_solve(a, b)[0], mpf(0)
        for _ in range(1 if done else parts):
            near += rounded(best - near, bits)
        done.append(near)
    dense = [mpf(low) + (mpf(high) - low) * i / 997 for i in range(998)]
    return done, max(abs(weight(x) * (horner(done, x) - f(x))) for x in dense)


def literal(x: mpf, kind: str) -> str:
    """Return x as a C++ literal that reads back as the same number."""
    return mp.nstr(x, 9) + "f" if kind == "float" else mp.nstr(x, 17)


def table(
    name: str, f: Function, weight: Function, low: float, high: float, degrees: dict[str, int], parts: int = 1
) -> None:
    """Print one polynomial for both element types, highest power first, and before it what a lowest part leaves."""
    for kind, degree in degrees.items():
        coefficients, error = fit(f, weight, low, high, degree, BITS[kind], parts)
        if parts > 1:
            head = rounded(coefficients[0], BITS[kind])
            print(f"{name}, {kind}: the lowest coefficient is {literal(head, kind)} and the last one below")
            coefficients[0] -= head
        numbers = ", ".join(literal(c, kind) for c in reversed(coefficients))
        print(f"{name}, {kind}: weighted error {mp.nstr(error, 2)}\n  {{{numbers}}};")


def near_zero(f: Function, limit: mpf) -> Function:
    """Return f with its limit at 0 filled in."""
    return lambda x: f(x) if abs(x) > mpf(10) ** -20 else limit


def tail(y: mpf) -> mpf:
    """Return (t + 5) exp(t^2 / 2) Q(t) at y = (t - 5) / (t + 5), with Q(t) = 1 - Phi(t)."""
    t = 5 * (1 + y) / (1 - y)
    return (t + 5) * exp(t * t / 2) * erfc(t / sqrt(2)) / 2


def main() -> None:
    """Print every table."""
    half = mpf("0.3470")  # ln 2 / 2 and a little: the reduction rounds
    tiny = mpf(10) ** -9
    f = near_zero(lambda r: (expm1(r) - r) / r**2, mpf(1) / 2)
    table("exp: (e^r - 1 - r) / r^2", f, lambda r: abs(r) + tiny, -half, half, {"float": 4, "double": 9})

    f = near_zero(lambda z: (2 * atanh(sqrt(z)) - 2 * sqrt(z)) / sqrt(z) ** 3, mpf(2) / 3)
    table("log: (2 atanh(s) - 2 s) / s^3 in s^2", f, lambda z: z + tiny, 0, 0.0401, {"float": 2, "double": 7})

    f = near_zero(lambda y: (tanh(sqrt(y)) / sqrt(y) - 1) / y, -mpf(1) / 3)
    table("tanh: (tanh(x) - x) / x^3 in x^2", f, lambda y: y + tiny, 0, 0.625**2, {"float": 4, "double": 10})

    sine = near_zero(lambda y: sin(2 * pi * sqrt(y)) / sqrt(y), 2 * pi)
    table("sin(2 pi r) / r in r^2", sine, lambda y: 1 / sine(y), 0, 1 / 64, {"float": 3, "double": 6})
    table("cos(2 pi r) in r^2", lambda y: cos(2 * pi * sqrt(y)), lambda _: mpf(1), 0, 1 / 64, {"float": 4, "double": 7})

    centre = near_zero(lambda y: erf(sqrt(y / 2)) / sqrt(y) / 2, 1 / sqrt(2 * pi))
    degrees = {"float": 5, "double": 10}
    table("normal: (Phi(z) - 1/2) / z in z^2", centre, lambda y: 1 / centre(y), 0, 1, degrees, parts=2)
    for kind, degree, reach in (("float", 9, 15), ("double", 19, 39)):
        low, high = mpf(1 - 5) / (1 + 5), mpf(reach - 5) / (reach + 5)
        name = "normal tail: (t + 5) e^(t^2/2) Q(t) in (t - 5) / (t + 5)"
        table(name, tail, lambda y: 1 / tail(y), low, high, {kind: degree})


if __name__ == "__main__":
    main()
