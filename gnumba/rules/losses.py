"""Losses of an element, each beside its derivative in the prediction.

Written so that nan stays nan, and as sums that do not cancel: infinite logits have their limits.
"""

from ..elementary import exp, exp_below, expm1, log, log1p, scaled_one_plus_exp, sign, tanh, where

__all__ = []

LN2 = 0.6931471805599453


def mse(prediction, target):
    """(p − t)²."""
    d = prediction - target
    return d * d


def mse_gradient(prediction, target):
    """2(p − t)."""
    return 2.0 * (prediction - target)


def mae(prediction, target):
    """|p − t|."""
    return abs(prediction - target)


def mae_gradient(prediction, target):
    """The sign of p − t, 0 at 0."""
    return sign(prediction - target)


def huber(prediction, target, delta=1.0):
    """d²/2 within δ, beyond it δ(|d| − δ/2). Huber 1964."""
    a = abs(prediction - target)
    return where(a <= delta, 0.5 * a * a, delta * (a - 0.5 * delta))


def huber_gradient(prediction, target, delta):
    """d, clipped to δ."""
    d = prediction - target
    return where(d > delta, delta, where(d < -delta, -delta, d))


def log_cosh(prediction, target):
    """log cosh d, as log(1 + 2 sinh²(d/2)) near 0, beyond it as |d| + log(1 + e^−2|d|) − log 2."""
    a = abs(prediction - target)
    m = expm1(0.5 * where(a < 1.0, a, 0.0))
    s = 0.5 * (m + m / (1.0 + m))
    return where(a < 1.0, log1p(2.0 * s * s), a + (log1p(exp(-2.0 * a)) - LN2))


def log_cosh_gradient(prediction, target):
    """tanh d."""
    return tanh(prediction - target)


def sigmoid_cross_entropy(logits, targets):
    """−t·log σ(x) − (1 − t)·log(1 − σ(x)), as log(1 + e^−|x|) and a product that is 0 where its factor is."""
    rest = log1p(exp(-abs(logits)))
    wrong = where(logits > 0.0, 1.0 - targets, targets)  # how much of the target is on the other side
    return rest + where(wrong == 0.0, 0.0, abs(logits) * wrong)


def sigmoid_cross_entropy_gradient(logits, targets):
    """σ(x) − t; where t is 1, −σ(−x), which does not cancel."""
    negative = targets == 1.0
    d, s = scaled_one_plus_exp(where(negative, logits, -logits))
    y = s / d
    return where(negative, -y, y - targets)


def hinge(prediction, target):
    """max(0, 1 − t·p) for targets −1 and 1. Cortes & Vapnik 1995."""
    margin = 1.0 - target * prediction
    return where(margin <= 0.0, 0.0, margin)


def hinge_gradient(prediction, target):
    """−t within the margin, else 0."""
    margin = 1.0 - target * prediction
    return where(margin <= 0.0, 0.0, where(margin > 0.0, -target, margin))


def kl_divergence(log_probabilities, targets):
    """t(log t − log p), and 0 where t is 0. Kullback & Leibler 1951."""
    known = where(targets == 0.0, 1.0, targets)
    return where(targets == 0.0, 0.0, targets * (log(known) - log_probabilities))


def kl_divergence_gradient(log_probabilities, targets):
    """−t."""
    return where(log_probabilities != log_probabilities, log_probabilities, -targets)


def soft_target(x, t, w, shift, scale, slope, level):
    """An exponential, the weight of a class in a row, and that times the distance from the maximum."""
    weight = w * (slope * t + level)
    d = x - shift
    return exp_below(d), weight, where(weight == 0.0, 0.0, weight * d)


def soft_gradient(e, t, w, factor, scale, slope, level):
    """Probability times the row's weight, less the class's weight."""
    return e * factor - scale * (w * (slope * t + level))


def soft_scalars(ratio, maximum, total, weight, scale, slope, level):
    """The factor of a block's exponentials, and what the call was given."""
    return scale * weight * ratio / total, scale, slope, level


def hard_target(x, shift, scale):
    """e to the distance from the maximum."""
    return exp_below(x - shift)


def hard_gradient(e, factor):
    """Probability times the row's weight; the label's own share comes off later."""
    return e * factor


def hard_scalars(ratio, maximum, total, weight, scale):
    """The factor of a block's exponentials."""
    return (scale * weight * ratio / total,)


def cross_entropy_of_row(total, weight, weighed, hot, distance):
    """Σ tᵢ(log Σeˣ − xᵢ), relative to the maximum; ``hot`` is the label's share of the weight."""
    return weight * log(total) - weighed - where(hot == 0.0, 0.0, hot * distance)
