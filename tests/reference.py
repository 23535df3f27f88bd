"""The formulas, as naively as they are written down: float64, NumPy only, nothing of gnumba.

Update rules: ``rule(p, g, state, t, **hyperparameters) -> (new p, new state)``, with ``state`` a dict
of arrays ({} before the first step) and t = 1, 2, … the update being made.
Activations: f and f′ by name, the derivatives in forms of their own, not in gnumba's.
"""

import hashlib
import math

import numpy as np

# Update rules.


def sgd(
    p, g, state, t, *, lr, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, decoupled=False
):
    """v ← μv + (1 − τ)(g + λθ); θ ← θ − ηv, or with Nesterov θ − η((1 − τ)(g + λθ) + μv)."""
    damped = (1 - dampening) * (g if decoupled else g + weight_decay * p)
    v = momentum * state.get("v", 0.0) + damped
    direction = damped + momentum * v if nesterov else v
    kept = (1 - lr * weight_decay) * p if decoupled else p
    return kept - lr * direction, {"v": v}


def momentum(p, g, state, t, *, lr, momentum=0.9, weight_decay=0.0, decoupled=False):
    """v ← βv + (1 − β)g; θ ← θ − ηv."""
    g = g if decoupled else g + weight_decay * p
    v = momentum * state.get("v", 0.0) + (1 - momentum) * g
    kept = (1 - lr * weight_decay) * p if decoupled else p
    return kept - lr * v, {"v": v}


def epsilons(eps, eps_root):
    """Both as given; one that is not is 0, and 1e-8 inside the root where neither is."""
    if eps is None and eps_root is None:
        return 0.0, 1e-8
    return eps or 0.0, eps_root or 0.0


def adagrad(p, g, state, t, *, lr, eps=None, eps_root=None, weight_decay=0.0):
    """G ← G + g²; θ ← θ − ηg/(√(G + eps_root) + eps)."""
    eps, eps_root = epsilons(eps, eps_root)
    g = g + weight_decay * p
    total = state.get("G", 0.0) + g**2
    return p - lr * g / (np.sqrt(total + eps_root) + eps), {"G": total}


def rmsprop(
    p, g, state, t, *, lr, decay=0.9, eps=None, eps_root=None, momentum=0.0, centered=False, weight_decay=0.0
):
    """E ← γE + (1 − γ)g²; b ← μb + g/(√(E + eps_root) + eps); θ ← θ − ηb; centred E − a² for E."""
    eps, eps_root = epsilons(eps, eps_root)
    g = g + weight_decay * p
    mean_square = decay * state.get("E", 0.0) + (1 - decay) * g**2
    mean = decay * state.get("a", 0.0) + (1 - decay) * g
    spread = np.maximum(mean_square - mean**2, 0.0) if centered else mean_square
    b = momentum * state.get("b", 0.0) + g / (np.sqrt(spread + eps_root) + eps)
    return p - lr * b, {"E": mean_square, "a": mean, "b": b}


def adadelta(p, g, state, t, *, lr=1.0, decay=0.9, eps_root=1e-6, weight_decay=0.0):
    """E ← ρE + (1 − ρ)g²; Δ = g√(D + ε)/√(E + ε); D ← ρD + (1 − ρ)Δ²; θ ← θ − ηΔ."""
    g = g + weight_decay * p
    mean = decay * state.get("E", 0.0) + (1 - decay) * g**2
    steps = state.get("D", 0.0)
    step = g * np.sqrt(steps + eps_root) / np.sqrt(mean + eps_root)
    return p - lr * step, {"E": mean, "D": decay * steps + (1 - decay) * step**2}


def adam(p, g, state, t, *, lr, betas=(0.9, 0.999), eps=None, eps_root=None, amsgrad=False, weight_decay=0.0):
    """m̂ and v̂ are moving means corrected for their start at 0; θ ← θ − ηm̂/(√(v̂ + eps_root) + eps)."""
    g = g + weight_decay * p
    step, state = _adam_step(g, state, t, betas, eps, eps_root, amsgrad)
    return p - lr * step, state


def adamw(
    p, g, state, t, *, lr, betas=(0.9, 0.999), eps=None, eps_root=None, amsgrad=False, weight_decay=1e-4
):
    """θ ← θ − η(m̂/(√(v̂ + eps_root) + eps) + λθ), with the old θ on the right."""
    step, state = _adam_step(g, state, t, betas, eps, eps_root, amsgrad)
    return p - lr * (step + weight_decay * p), state


def _adam_step(g, state, t, betas, eps, eps_root, amsgrad):
    eps, eps_root = epsilons(eps, eps_root)
    beta1, beta2 = betas
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    largest = np.maximum(state.get("v_max", 0.0), v)
    m_hat, v_hat = m / (1 - beta1**t), (largest if amsgrad else v) / (1 - beta2**t)
    return m_hat / (np.sqrt(v_hat + eps_root) + eps), {"m": m, "v": v, "v_max": largest}


def decayed(p, g, lr, weight_decay, decoupled):
    """Parameter and gradient after decay of either kind."""
    return ((1 - lr * weight_decay) * p, g) if decoupled else (p, g + weight_decay * p)


def radam(
    p, g, state, t, *, lr, betas=(0.9, 0.999), eps=None, eps_root=None, weight_decay=0.0, decoupled=False
):
    """Algorithm 2: adaptive and rectified where the SMA's length is above 5, momentum before."""
    eps, eps_root = epsilons(eps, eps_root)
    p, g = decayed(p, g, lr, weight_decay, decoupled)
    beta1, beta2 = betas
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length > 5:
        squared = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        step = np.sqrt(squared) * m_hat / (np.sqrt(v_hat + eps_root) + eps)
    else:
        step = m_hat
    return p - lr * step, {"m": m, "v": v}


def nadam(
    p, g, state, t, *, lr, betas=(0.9, 0.999), eps=None, eps_root=None, momentum_decay=4e-3, weight_decay=0.0,
    decoupled=False,
):  # fmt: skip
    """Algorithm 2 with μᵢ = β₁(1 − ½ · 0.96^(iψ)): m̄ = (1 − μₜ)ĝ + μₜ₊₁m̂ in place of Adam's m̂."""
    eps, eps_root = epsilons(eps, eps_root)
    p, g = decayed(p, g, lr, weight_decay, decoupled)
    beta1, beta2 = betas
    mu = beta1 * (1 - 0.96 ** (momentum_decay * np.arange(1, t + 2)) / 2)
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    g_hat, m_hat, v_hat = g / (1 - np.prod(mu[:-1])), m / (1 - np.prod(mu)), v / (1 - beta2**t)
    m_bar = (1 - mu[-2]) * g_hat + mu[-1] * m_hat
    return p - lr * m_bar / (np.sqrt(v_hat + eps_root) + eps), {"m": m, "v": v}


def adamax(p, g, state, t, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """u ← max(β₂u, |g| + ε); θ ← θ − ηm̂/u."""
    g = g + weight_decay * p
    beta1, beta2 = betas
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    u = np.maximum(beta2 * state.get("u", 0.0), np.abs(g) + eps)
    return p - lr * m / (1 - beta1**t) / u, {"m": m, "u": u}


def adabelief(
    p, g, state, t, *, lr, betas=(0.9, 0.999), eps=1e-16, eps_root=1e-16, weight_decay=0.0, decoupled=False
):
    """s ← β₂s + (1 − β₂)(g − m)² + eps_root; θ ← θ − ηm̂/(√ŝ + eps)."""
    p, g = decayed(p, g, lr, weight_decay, decoupled)
    beta1, beta2 = betas
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    s = beta2 * state.get("s", 0.0) + (1 - beta2) * (g - m) ** 2 + eps_root
    return p - lr * m / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + eps), {"m": m, "s": s}


def adan(p, g, state, t, *, lr, betas=(0.98, 0.92, 0.99), eps=1e-8, eps_root=1e-8, weight_decay=0.0):
    """Algorithm 1 with the authors' betas and corrections; the proximal decay divides by 1 + ηλ."""
    beta1, beta2, beta3 = betas
    change = g - state.get("g_before", 0.0) if t > 1 else np.zeros_like(g)
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    n = beta2 * state.get("n", 0.0) + (1 - beta2) * change
    v = beta3 * state.get("v", 0.0) + (1 - beta3) * (g + beta2 * change) ** 2
    m_hat, n_hat, v_hat = m / (1 - beta1**t), n / (1 - beta2**t), v / (1 - beta3**t)
    p = p - lr * (m_hat + beta2 * n_hat) / (np.sqrt(v_hat + eps_root) + eps)
    return p / (1 + lr * weight_decay), {"m": m, "n": n, "v": v, "g_before": g}


def lion(p, g, state, t, *, lr, betas=(0.9, 0.99), weight_decay=1e-3):
    """θ ← θ − η(sign(β₁m + (1 − β₁)g) + λθ); m ← β₂m + (1 − β₂)g."""
    beta1, beta2 = betas
    m = state.get("m", 0.0)
    step = np.sign(beta1 * m + (1 - beta1) * g)
    return p - lr * (step + weight_decay * p), {"m": beta2 * m + (1 - beta2) * g}


def trusted(of, by):
    """A ratio of norms, 1 where one is 0."""
    of, by = np.linalg.norm(np.ravel(of)), np.linalg.norm(np.ravel(by))
    return of / by if of and by else 1.0


def lamb(p, g, state, t, *, lr, betas=(0.9, 0.999), eps=1e-6, eps_root=0.0, weight_decay=0.0):
    """u = m̂ / (√(v̂ + ε_root) + ε) + λθ; θ ← θ − η(‖θ‖/‖u‖)u."""
    beta1, beta2 = betas
    m = beta1 * state.get("m", 0.0) + (1 - beta1) * g
    v = beta2 * state.get("v", 0.0) + (1 - beta2) * g**2
    u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t) + eps_root) + eps) + weight_decay * p
    return p - lr * trusted(p, u) * u, {"m": m, "v": v}


def muon(p, g, state, t, *, lr=0.02, momentum=0.95, nesterov=True, ns_steps=5, weight_decay=0.1):
    """m ← μm + (1 − μ)g; u = μm + (1 − μ)g or m; θ ← θ − η(√max(1, rows/columns)U p(…p(Σ/‖u‖))Vᵀ + λθ)."""
    m = momentum * state.get("m", 0.0) + (1 - momentum) * g
    u, s, vt = np.linalg.svd(momentum * m + (1 - momentum) * g if nesterov else m, full_matrices=False)
    s = s / max(np.sqrt((s**2).sum()), 1e-7)
    for _ in range(ns_steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    step = np.sqrt(max(1, p.shape[0] / p.shape[1])) * (u * s) @ vt
    return p - lr * (step + weight_decay * p), {"m": m}


def lars(p, g, state, t, *, lr, momentum=0.9, nesterov=False, trust_coefficient=1e-3, weight_decay=0.0):
    """g ← g + λθ; v ← μv + η(τ‖θ‖/‖g‖)g; θ ← θ − v, or with Nesterov less what is added to v, and μv."""
    g = g + weight_decay * p
    added = lr * trusted(trust_coefficient * p, g) * g
    v = momentum * state.get("v", 0.0) + added
    return p - (added + momentum * v if nesterov else v), {"v": v}


def schedule_free_sgd(p, g, state, t, *, lr, beta=0.9, warmup_steps=0, weight_decay=0.0):
    """z ← z − η(g + λy); x is the mean of all z weighted by η²; y = (1 − β)z + βx; d = z − x."""
    return _schedule_free(p, g + weight_decay * p, state, t, lr, beta, warmup_steps)


def schedule_free_adamw(
    p, g, state, t, *, lr, betas=(0.9, 0.999), eps=None, eps_root=None, warmup_steps=0, weight_decay=0.0
):
    """z ← z − η(g/(√(v̂ + eps_root) + eps) + λy), else as with SGD."""
    eps, eps_root = epsilons(eps, eps_root)
    v = betas[1] * state.get("v", 0.0) + (1 - betas[1]) * g**2
    step = g / (np.sqrt(v / (1 - betas[1] ** t) + eps_root) + eps) + weight_decay * p
    p, state = _schedule_free(p, step, state, t, lr, betas[0], warmup_steps)
    return p, state | {"v": v}


def _schedule_free(y, step, state, t, lr, beta, warmup_steps):
    y, step = np.asarray(y, np.longdouble), np.asarray(step, np.longdouble)  # d is a small difference
    rates = [lr * min(k / warmup_steps, 1) if warmup_steps else lr for k in range(1, t + 1)]
    ahead = state.get("d", 0.0)
    x = y - (1 - beta) * ahead
    z = x + ahead - rates[-1] * step
    share = rates[-1] ** 2 / sum(rate**2 for rate in rates)
    x = x + share * (z - x)
    return np.float64((1 - beta) * z + beta * x), {"d": np.float64(z - x)}


def rprop(p, g, state, t, *, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0)):
    """iRprop⁻: s grows where the sign stays, and shrinks where it turns, where g counts as 0 then."""
    turn = np.sign(g) * np.sign(state.get("g_before", 0.0))
    size = np.asarray(state.get("size", 0.0))
    size = np.where(size == 0, lr, size) * np.select([turn > 0, turn < 0], [etas[1], etas[0]], 1.0)
    size = np.clip(size, *step_sizes)
    g = np.where(turn < 0, 0.0, g)
    return p - np.sign(g) * size, {"g_before": g, "size": size}


# Activations. Where only x > 0 decides, nan must be put back.

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_LAMBDA = 1.0507009873554804934193349852946


def _by_sign(x, right, left):
    """``right`` where x > 0, ``left`` elsewhere, nan where x is nan."""
    return np.where(np.isnan(x), np.nan, np.where(x > 0, right, left))


def _sech(x):
    """1/cosh x, for x so large that it is 0."""
    return 1 / np.cosh(np.clip(x, -700, 700))


def sigmoid(x):
    """1/(1 + e⁻ˣ), which is eˣ/(1 + eˣ)."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


def sigmoid_derivative(x):
    """1/(4 cosh²(x/2))."""
    return _sech(x / 2) * _sech(x / 2) / 4


def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)


def tanh_derivative(x):
    """1/cosh² x."""
    return _sech(x) * _sech(x)


def relu(x):
    """max(0, x)."""
    return np.maximum(x, 0.0)


def relu_derivative(x):
    """1 right of 0, else 0."""
    return _by_sign(x, 1.0, 0.0)


def leaky_relu(x, negative_slope=0.01):
    """x right of 0, else negative_slope·x."""
    return np.where(x > 0, x, negative_slope * x)


def leaky_relu_derivative(x, negative_slope=0.01):
    """1 right of 0, else negative_slope."""
    return _by_sign(x, 1.0, negative_slope)


def prelu(x, alpha):
    """x right of 0, else αx."""
    return np.where(x > 0, x, alpha * x)


def prelu_derivative(x, alpha):
    """1 right of 0, else α."""
    return _by_sign(x, 1.0, alpha)


def prelu_dalpha(dy, x, alpha):
    """∂f/∂α is min(x, 0); its product with dy, summed over the axes along which α was broadcast."""
    share = dy * np.minimum(x, 0.0)
    shape = (1,) * (x.ndim - np.ndim(alpha)) + np.shape(alpha)
    axes = tuple(k for k in range(x.ndim) if shape[k] != x.shape[k])
    return share.sum(axis=axes).reshape(np.shape(alpha))


def elu(x, alpha=1.0):
    """x right of 0, else α(eˣ − 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def elu_derivative(x, alpha=1.0):
    """1 right of 0, else αeˣ."""
    return np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0)))


def selu(x):
    """λ times (x right of 0, else α(eˣ − 1))."""
    return SELU_LAMBDA * elu(x, SELU_ALPHA)


def selu_derivative(x):
    """λ right of 0, else λαeˣ."""
    return SELU_LAMBDA * elu_derivative(x, SELU_ALPHA)


def silu(x):
    """xσ(x), 0 at −∞."""
    return np.maximum(x, -1e4) * sigmoid(x)


def silu_derivative(x):
    """σ(x) + xσ′(x), whose second term goes to 0 on both sides."""
    x = np.clip(x, -1e4, 1e4)
    return sigmoid(x) + x * sigmoid_derivative(x)


# Random bits and what is dropped by them.


def philox(counters, key):
    """Philox4x32-10 of Salmon et al. 2011 on columns of counters, in the 32 bits that the paper has."""
    a, b, c, d = (np.asarray(column, np.uint32) for column in counters)
    for number in range(10):
        first, second = (
            (int(word) + number * step) % 2**32
            for word, step in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)
        )
        ab, cd = a.astype(np.uint64) * np.uint64(0xD2511F53), c.astype(np.uint64) * np.uint64(0xCD9E8D57)
        (low, high), (low2, high2) = (product.view("<u4").reshape(-1, 2).T for product in (ab, cd))
        a, b, c, d = high2 ^ b ^ np.uint32(first), low2, high ^ d ^ np.uint32(second), low
    return a, b, c, d


def uniforms(index, *key):
    """Multiples of 2⁻²⁴ in [0, 1): 96 bits of SHA-256 are Philox's key and half its counter."""
    digest = hashlib.sha256(",".join(format(number, "x") for number in key).encode()).digest()
    k0, k1, c2, c3 = (int.from_bytes(digest[at : at + 3], "little") for at in (0, 3, 6, 9))
    index = np.asarray(index, np.uint64)
    words = philox(
        (index % 2**32, index // 2**32, np.full_like(index, c2), np.full_like(index, c3)), (k0, k1)
    )
    return (words[0] >> 8) * 2.0**-24


def dropped(index, rate, *key):
    """Where a uniform number is below the rate, rounded to a multiple of 2⁻²⁴."""
    return uniforms(index, *key) < np.round(rate * 2.0**24) * 2.0**-24


def dropout(x, drop, rate):
    """x/(1 − p), or 0."""
    return np.where(drop, 0.0, x / (1 - rate))


def alpha_dropout(x, drop, rate):
    """a·(x or α′) + b."""
    low = -1.7580993408473768599  # −λα, whose product in float64 is one unit off
    a = 1 / np.sqrt((1 - rate) * (1 + rate * low**2))
    return a * np.where(drop, low, x) - a * rate * low


def _normal(x):
    """Φ(x) and φ(x)."""
    cumulative = np.array([math.erfc(-t / math.sqrt(2.0)) / 2 for t in np.ravel(x).tolist()]).reshape(
        np.shape(x)
    )
    x = np.clip(x, -50, 50)
    return cumulative, np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def gelu(x):
    """xΦ(x)."""
    return np.where(x == -np.inf, -0.0, x * _normal(x)[0])


def gelu_derivative(x):
    """Φ(x) + xφ(x)."""
    cumulative, density = _normal(x)
    return cumulative + np.clip(x, -50, 50) * density


def _gate(x):
    """z, twice the argument of gelu_tanh's tanh, and z′."""
    x = np.clip(x, -50, 50)
    return np.sqrt(8 / np.pi) * (x + 0.044715 * x**3), np.sqrt(8 / np.pi) * (1 + 3 * 0.044715 * x**2)


def gelu_tanh(x):
    """x/(1 + e⁻ᶻ)."""
    return x * sigmoid(_gate(x)[0])


def gelu_tanh_derivative(x):
    """σ(z) + xz′σ′(z)."""
    z, slope = _gate(x)
    return sigmoid(z) + np.clip(x, -50, 50) * slope * sigmoid_derivative(z)


def softplus(x, beta=1.0):
    """log(1 + e^(βx))/β."""
    return np.logaddexp(0.0, beta * x) / beta


def softplus_derivative(x, beta=1.0):
    """σ(βx)."""
    return sigmoid(beta * x)


def mish(x):
    """x·tanh(softplus(x))."""
    return x * np.tanh(softplus(x))


def mish_derivative(x):
    """tanh s + x·σ(x)/cosh² s, s being softplus(x)."""
    x = np.clip(x, -800, 800)
    return np.tanh(softplus(x)) + x * sigmoid(x) * tanh_derivative(softplus(x))


def hard_sigmoid(x):
    """(x + 3)/6 within 0 and 1."""
    return np.clip(x + 3, 0, 6) / 6


def hard_sigmoid_derivative(x):
    """1/6 within ±3."""
    return _between(x, -3, 3, 1 / 6)


def hard_swish(x):
    """x·hard_sigmoid(x)."""
    return x * hard_sigmoid(x)


def hard_swish_derivative(x):
    """x/3 + 1/2 within ±3."""
    return np.where(np.isnan(x), x, np.where(x <= -3, 0.0, np.where(x < 3, x / 3 + 0.5, 1.0)))


def hard_tanh(x, low=-1.0, high=1.0):
    """x within low and high."""
    return np.clip(x, low, high)


def hard_tanh_derivative(x, low=-1.0, high=1.0):
    """1 within low and high."""
    return _between(x, low, high, 1.0)


def relu6(x):
    """x within 0 and 6."""
    return np.clip(x, 0.0, 6.0)


def relu6_derivative(x):
    """1 within 0 and 6."""
    return _between(x, 0, 6, 1.0)


def celu(x, alpha=1.0):
    """max(0, x) + min(0, α(e^(x/α) − 1))."""
    return np.maximum(0, x) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def celu_derivative(x, alpha=1.0):
    """1 right of 0, else e^(x/α)."""
    return np.where(x > 0, 1.0, np.exp(np.minimum(x, 0) / alpha))


def softsign(x):
    """x/(1 + |x|)."""
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


def softsign_derivative(x):
    """1/(1 + |x|)²."""
    return (1 + np.abs(x)) ** -2.0


def log_sigmoid(x):
    """−log(1 + e⁻ˣ)."""
    return -np.logaddexp(0.0, -x)


def log_sigmoid_derivative(x):
    """σ(−x)."""
    return sigmoid(-x)


def soft_shrink(x, threshold=0.5):
    """sign(x)·max(|x| − threshold, 0)."""
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def hard_shrink(x, threshold=0.5):
    """x, but 0 within the threshold."""
    return np.where(np.abs(x) <= threshold, 0.0, x)


def shrink_derivative(x, threshold=0.5):
    """1, but 0 within the threshold."""
    return np.where(np.isnan(x), x, (np.abs(x) > threshold) * 1.0)


def tanh_shrink(x):
    """x − tanh x."""
    return x - np.tanh(x)


def tanh_shrink_derivative(x):
    """tanh² x."""
    return np.tanh(x) ** 2


def sine(x, omega=30.0):
    """sin(ωx)."""
    return np.sin(omega * x)


def sine_derivative(x, omega=30.0):
    """ω cos(ωx)."""
    return omega * np.cos(omega * x)


def _between(x, low, high, value):
    return np.where(np.isnan(x), x, np.where((x > low) & (x < high), value, 0.0))


# Losses: an element's, and its derivative in the prediction.


def mse(p, t):
    return (p - t) ** 2, 2 * (p - t)


def mae(p, t):
    return np.abs(p - t), np.sign(p - t)


def huber(p, t, delta=1.0):
    d = p - t
    inside = np.abs(d) <= delta
    return np.where(inside, d**2 / 2, delta * (np.abs(d) - delta / 2)), np.clip(d, -delta, delta)


def log_cosh(p, t):
    return np.logaddexp(p - t, t - p) - np.log(2), np.tanh(p - t)


def sigmoid_cross_entropy(x, t):
    return np.logaddexp(0, x) - t * x, 1 / (1 + np.exp(-x)) - t


def hinge(p, t):
    return np.maximum(0, 1 - t * p), np.where(1 - t * p > 0, -t, 0.0)


def kl_divergence(log_p, t):
    return np.where(t > 0, t * (np.log(np.where(t > 0, t, 1)) - log_p), 0.0), -t
