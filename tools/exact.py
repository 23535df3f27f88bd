"""Formulas in NumPy's long double, which has 64 bits of mantissa on x86-64, for `tools/accuracy.py`.

One a function, by its name in ``gnumba.rules`` or ``gnumba.elementary``. None of them cancels, and where
rounding an exponential's argument would spoil it, that is kept in two parts: they are right to a tenth of
an ulp of float64, and have nothing in common with what they judge.
"""

import numpy as np

LONG = np.longdouble
FAR = LONG(2000)
PI, ROOT_HALF = LONG("3.14159265358979323846264338327950288"), LONG("0.707106781186547524400844362104849039")
SELU_LAMBDA = LONG("1.0507009873554804934193349852946")
SELU_LAMBDA_ALPHA = SELU_LAMBDA * LONG("1.6732632423543772848170429916717")
# Zeros of derivatives, 2√(2/π), and 0.044715 times that, each in two parts.
SILU_MINIMUM = LONG("-1.27846454276107379514383632912"), LONG("3.44775901015735302482e-20")
MISH_MINIMUM = LONG("-1.19243121451549521211659560249"), LONG("-2.09927379289973492282e-20")
GELU_MINIMUM = LONG("-0.751791524693564457452674143489"), LONG("-5.23080329007791609729e-21")
GELU_TANH_MINIMUM = LONG("-0.752461422071016258468576648477"), LONG("-1.9377794811805310783e-20")
GATE_LINEAR = LONG("1.59576912160573071170627246218"), LONG("5.35117775572047829201e-20")
GATE_CUBIC = LONG("0.0713548162726002487772137584943"), LONG("-8.75006214400898495825e-22")

exp, expm1, log, log1p, sqrt = np.exp, np.expm1, np.log, np.log1p, np.sqrt
tanh, sin, cos, abs, sign, pow = np.tanh, np.sin, np.cos, np.abs, np.sign, np.power
exp_below = np.exp


def product(a, b):
    """a·b in two parts, by Veltkamp's and Dekker's splittings."""
    a_high, b_high = ((LONG(2**32) + 1) * c - (LONG(2**32) * c) for c in (a, b))
    a_low, b_low = a - a_high, b - b_high
    p = a * b
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def exp_of_two(high, low):
    """e^(high + low)."""
    e = np.exp(high)
    return e + e * low


def gauss(x):
    """e^(−x²/2)."""
    high, low = product(x, x)
    return exp_of_two(-high / 2, -low / 2)


# Error functions.


def erf_series(t):
    """erf(t) e^(t²) √π/2, for |t| ≤ 1, by a series of positive terms."""
    total, twice = np.ones_like(t), 2 * t * t
    for k in range(22, 0, -1):
        total = 1 + total * twice / (2 * k + 1)
    return t * total


def scaled_erfc(t):
    """erfc(t) e^(t²) for t ≥ ½, by the trapezoidal rule. Matta & Reichel 1971."""
    h, square = LONG("0.46"), t * t
    total = 1 / (2 * square)
    for k in range(1, 16):
        total = total + np.exp(-((k * h) ** 2)) / ((k * h) ** 2 + square)
    pole = np.where(t < 7, 2 * np.exp(square) / np.expm1(2 * PI * np.minimum(t, 7) / h), 0)
    return 2 * t * h / PI * total - pole


def erfc_from(t, decay):
    """erfc(t) for t ≥ 0, given e^(−t²)."""
    near = np.minimum(t, 1)
    return np.where(
        t < 0.75, 1 - erf_series(near) * 2 / np.sqrt(PI) * decay, scaled_erfc(np.clip(t, 0.5, 100)) * decay
    )


def erfc(x):
    t = np.minimum(np.abs(x), 200)
    high, low = product(t, t)
    y = erfc_from(t, exp_of_two(-high, -low))
    return np.where(x < 0, 2 - y, y)


def erf(x):
    t = np.minimum(np.abs(x), 200)
    near = np.minimum(t, 1)
    y = np.where(t < 0.75, erf_series(near) * 2 / np.sqrt(PI) * np.exp(-near * near), 1 - erfc(t))
    return np.copysign(y, x)


def normal(x):
    """Φ(x)."""
    t = np.minimum(np.abs(x), 200)
    half = erfc_from(t * ROOT_HALF, gauss(t)) / 2
    return np.where(x < 0, half, 1 - half)


# Between two bounds.


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def sigmoid_derivative(x):
    e = np.exp(-np.abs(x))
    return e / ((1 + e) * (1 + e))


def sigmoid_derivative_from_y(y):
    return y * (1 - y)


def tanh_derivative(x):
    return 4 * sigmoid_derivative(2 * x)


def tanh_derivative_from_y(y):
    return (1 - y) * (1 + y)


def softsign(x):
    t = np.clip(x, -(LONG(10) ** 400), LONG(10) ** 400)
    return t / (1 + np.abs(t))


def softsign_derivative(x):
    return 1 / ((1 + np.abs(x)) * (1 + np.abs(x)))


def hard_sigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


def hard_sigmoid_derivative(x):
    return inside(x, -3, 3, 1 / LONG(6))


def hard_tanh(x, low, high):
    return np.clip(x, low, high)


def hard_tanh_derivative(x, low, high):
    return inside(x, low, high, 1)


def inside(x, low, high, value):
    """The value between two numbers, else 0; nan stays nan."""
    return np.where((x > low) & (x < high), value, np.where(np.isnan(x), x, 0))


# Rectifiers.


def relu(x):
    return np.where(x <= 0, 0, x)


def relu_derivative(x):
    return inside(x, 0, np.inf, 1) + np.where(x == np.inf, 1, 0)


def leaky_relu(x, slope):
    return np.where(x > 0, x, slope * x)


def leaky_relu_derivative(x, slope):
    return np.where(np.isnan(x), x, np.where(x > 0, 1, slope))


prelu, prelu_derivative = leaky_relu, leaky_relu_derivative


def relu6(x):
    return np.clip(x, 0, 6)


def relu6_derivative(x):
    return inside(x, 0, 6, 1)


def elu(x, alpha):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def elu_derivative(x, alpha):
    return np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def elu_derivative_from_y(y, alpha):
    return np.where(y > 0, 1, y + alpha)


def selu(x):
    return np.where(x < 0, SELU_LAMBDA_ALPHA * np.expm1(np.minimum(x, 0)), SELU_LAMBDA * x)


def selu_derivative(x):
    return np.where(x > 0, SELU_LAMBDA, SELU_LAMBDA_ALPHA * np.exp(np.minimum(x, 0)))


def selu_derivative_from_y(y):
    return np.where(y > 0, SELU_LAMBDA, y + SELU_LAMBDA_ALPHA)


def quotient(x, alpha):
    """x/α in two parts."""
    q = x / alpha
    high, low = product(q, alpha)
    return q, np.where(np.abs(q) < 10 * FAR, ((x - high) - low) / alpha, 0)


def celu(x, alpha):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0) / alpha), x)


def celu_derivative(x, alpha):
    return np.where(x > 0, 1, exp_of_two(*quotient(np.clip(x, -10 * FAR, 0), alpha)))


def softplus(x, beta):
    high, low = product(np.clip(x, -FAR / beta, FAR / beta), LONG(beta))
    e = exp_of_two(-np.abs(high), -np.sign(high) * low)
    return np.where(high < 0, np.log1p(e), high + np.log1p(e)) / beta + np.where(
        x * beta > FAR, x - FAR / beta, 0
    )


def softplus_derivative(x, beta):
    high, low = product(np.clip(x, -10 * FAR, 10 * FAR), LONG(beta))
    e = exp_of_two(-np.abs(high), -np.sign(high) * low)
    return np.where(high < 0, e, 1) / (1 + e)


def log_sigmoid(x):
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def log_sigmoid_derivative(x):
    return sigmoid(-x)


# x times a function between 0 and 1.


def silu(x):
    x = np.maximum(x, -FAR)
    return x * sigmoid(x)


def silu_derivative(x):
    x = np.clip(x, -FAR, FAR)
    e, d = np.exp(-np.abs(x)), from_zero(x, SILU_MINIMUM)
    at_minimum = -1 - SILU_MINIMUM[0]  # eˣ there, as 1 + x + eˣ is 0
    near = np.abs(d) < 0.5
    left = np.where(near, d + at_minimum * np.expm1(np.where(near, d, 0)), 1 + x + e)
    return np.where(x < 0, e * left, 1 + e * (1 + x)) / ((1 + e) * (1 + e))


def legendre(count):
    """Nodes and weights of Gauß and Legendre's quadrature from 0 to 1: NumPy's, and Newton's step in them."""
    x = np.polynomial.legendre.leggauss(count)[0].astype(LONG)
    for _ in range(2):
        before, value = np.ones_like(x), x
        for k in range(2, count + 1):
            before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
        slope = count * (x * value - before) / (x * x - 1)
        x = x - value / slope
    return (1 + x) / 2, 1 / ((1 - x * x) * slope**2)


NODES, WEIGHTS = legendre(12)


def from_zero(x, zero):
    """The distance from a zero given in two parts."""
    return (x - zero[0]) - zero[1]


def gelu(x):
    x = np.maximum(x, -200)
    return x * normal(x)


def gelu_derivative(x):
    """Near its zero the integral of f″ = φ(x)(2 − x²) by Gauß and Legendre."""
    t = np.clip(x, -200, 200)
    d = from_zero(t, GELU_MINIMUM)
    near, total = np.abs(d) < 0.4, np.zeros_like(t)
    short = np.where(near, d, 0)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        at = GELU_MINIMUM[0] + short * node
        total = total + weight * np.exp(-at * at / 2) * (2 - at * at)
    far = normal(t) + t * gauss(t) / np.sqrt(2 * PI)
    return np.where(near, short * total / np.sqrt(2 * PI), far)


def gate(x):
    """z = 2√(2/π)(x + 0.044715x³) in two parts, and xz′."""
    square, square_low = product(x, x)
    cubic, cubic_low = product(GATE_CUBIC[0], square)
    cubic_low = cubic_low + GATE_CUBIC[0] * square_low + GATE_CUBIC[1] * square
    q = GATE_LINEAR[0] + cubic
    back = q - GATE_LINEAR[0]
    q_low = (GATE_LINEAR[0] - (q - back)) + (cubic - back) + cubic_low + GATE_LINEAR[1]
    z, z_low = product(x, q)
    return z, z_low + x * q_low, x * (q + 2 * cubic)


def gelu_tanh(x):
    t = np.clip(x, -50, 50)
    z, low, _ = gate(t)
    e = exp_of_two(-np.abs(z), -np.sign(z) * low)
    return np.where(x < 0, t * e, x) / (1 + e)


def gelu_tanh_derivative(x):
    """σ(z) + xz′σ(z)σ(−z); for x < 0 e(1 + e + xz′)/(1 + e)² with e = eᶻ."""
    t = np.clip(x, -50, 50)
    z, low, slope = gate(t)
    e = exp_of_two(-np.abs(z), -np.sign(z) * low)
    d = from_zero(t, GELU_TANH_MINIMUM)
    near = np.abs(d) < 0.4
    short, m = np.where(near, d, 0), GELU_TANH_MINIMUM[0]
    thrice = t * t + t * m + m * m
    at_minimum = gate(m)
    growth = np.exp(at_minimum[0]) * np.expm1(short * (GATE_LINEAR[0] + GATE_CUBIC[0] * thrice))
    above = np.where(near, growth + short * (GATE_LINEAR[0] + 3 * GATE_CUBIC[0] * thrice), 1 + e + slope)
    return np.where(x < 0, e * above, 1 + e + e * slope) / ((1 + e) * (1 + e))


def mish(x):
    t = np.clip(x, -FAR, FAR)
    e = np.exp(t)
    h = e + e * e / 2
    return np.where(x > FAR, x, t * h / (1 + h))


def mish_derivative(x):
    """e(4(1 + x) + e(6 + 4x) + 4e² + e³)/(2 + 2e + e²)², which grows from its zero by positive terms."""
    t = np.clip(x, -FAR, LONG(500))
    e, d = np.exp(t), from_zero(t, MISH_MINIMUM)
    near = np.abs(d) < 0.5
    short, e0 = np.where(near, d, 0), np.exp(MISH_MINIMUM[0])
    m = np.expm1(short)
    grown = 4 * short + e0 * (4 * short * (1 + m) + (6 + 4 * MISH_MINIMUM[0]) * m)
    grown = grown + e0**2 * 4 * m * (2 + m) + e0**3 * m * (3 + m * (3 + m))
    above = np.where(near, grown, 4 * (1 + t) + e * (6 + 4 * t + e * (4 + e)))
    return e * above / (2 + e * (2 + e)) ** 2


def hard_swish(x):
    return np.maximum(x, -3) * hard_sigmoid(x)


def hard_swish_derivative(x):
    return np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6))


# Others.


def soft_shrink(x, threshold):
    return np.where(np.abs(x) <= threshold, 0, x - np.copysign(threshold, x))


def hard_shrink(x, threshold):
    return np.where(np.abs(x) <= threshold, 0, x)


def shrink_derivative(x, threshold):
    return np.where(np.isnan(x), x, np.where(np.abs(x) <= threshold, 0, 1))


soft_shrink_derivative = hard_shrink_derivative = shrink_derivative


def tanh_shrink(x):
    """Near 0 the series of (x cosh x − sinh x)/cosh x, whose terms have one sign."""
    near = np.where(np.abs(x) < 1, x, 0)
    square, total = near * near, np.zeros_like(near)
    for k in range(14, 0, -1):  # 2k/(2k + 1)! x²ᵏ⁺¹
        total = 1 + total * square * (k + 1) / (k * (2 * k + 2) * (2 * k + 3))
    total = near * square * total / 3
    return np.where(np.abs(x) < 1, total / np.cosh(near), x - np.tanh(x))


def tanh_shrink_derivative(x):
    return np.tanh(x) ** 2


def sine(x, omega):
    return np.sin(omega * x)


def sine_derivative(x, omega):
    return omega * np.cos(omega * x)


# The gate's part of x·f(gate) at x = 1.

swiglu, swiglu_derivative = silu, silu_derivative
geglu, geglu_derivative = gelu, gelu_derivative
reglu, reglu_derivative = relu, relu_derivative
glu, glu_derivative = sigmoid, sigmoid_derivative
