"""The public activations: a row each, which names the function, its derivatives and its first weights."""

from .. import rules
from .activation import Activation
from .prelu import PReLU

__all__ = [
    "celu",
    "elu",
    "gelu",
    "gelu_tanh",
    "hard_shrink",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "sine",
    "soft_shrink",
    "softplus",
    "softsign",
    "swish",
    "tanh",
    "tanh_shrink",
]

sigmoid = Activation(
    rules.sigmoid,
    rules.sigmoid_derivative,
    rules.sigmoid_derivative_from_y,
    init="xavier_normal",
    doc="""Sigmoid, 1/(1 + e⁻ˣ), in (0, 1).

    Strengths: a probability; smooth. Weaknesses: saturates on both sides; not zero-centred.
    For: binary outputs, gates. Initialise with Xavier. ≤ 3 ulp in float32 and float64.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.sigmoid(np.array([-np.inf, 0.0, np.inf]))
    array([0. , 0.5, 1. ])
    """,
)

tanh = Activation(
    rules.tanh,
    rules.tanh_derivative,
    rules.tanh_derivative_from_y,
    init="xavier_normal",
    doc="""Hyperbolic tangent, (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ), in [−1, 1].

    Strengths: zero-centred; smooth. Weaknesses: saturates on both sides.
    For: recurrent networks, bounded outputs. Initialise with Xavier. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.tanh(np.array([-np.inf, 0.0, np.inf]))
    array([-1.,  0.,  1.])
    """,
)

relu = Activation(
    rules.relu,
    rules.relu_derivative,
    init="he_normal",
    doc="""ReLU, max(0, x); its derivative at 0 is 0. Nair & Hinton 2010.

    Strengths: cheap; does not saturate for x > 0. Weaknesses: units that stay below 0 learn no more.
    For: the default of hidden layers. Initialise with He.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """,
)

leaky_relu = Activation(
    rules.leaky_relu,
    rules.leaky_relu_derivative,
    init="he_normal",
    doc="""Leaky ReLU: x, or negative_slope·x for x ≤ 0. Maas, Hannun & Ng 2013.

    Strengths: no dead units; cheap. Weaknesses: one more number to choose.
    For: GANs, recurrent networks. ``negative_slope=0.01``, usually 0.01 to 0.3. Initialise with He.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.leaky_relu(np.array([-2.0, 3.0]), 0.5)
    array([-1.,  3.])
    """,
)

prelu = PReLU(
    init="he_normal",
    doc="""PReLU: x, or αx for x ≤ 0, with a learned α. He et al. 2015, arXiv:1502.01852.

    ``alpha`` is a number or an array that broadcasts against x (one a channel); ``backward``
    returns (dL/dx, dL/dα).

    Strengths: fits its own slope. Weaknesses: parameters more; keep α out of weight decay with a
    group of its own. For: deep convolutional networks. α starts at 0.25 as a rule. Initialise with He.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> x, alpha = np.array([[-2.0, 3.0], [-4.0, -6.0]]), np.array([0.5, 0.25])
    >>> gn.prelu(x, alpha)
    array([[-1. ,  3. ],
           [-2. , -1.5]])
    >>> dx, dalpha = gn.prelu.backward(np.ones((2, 2)), x, alpha)
    >>> dalpha
    array([-6., -6.])
    """,
)

elu = Activation(
    rules.elu,
    rules.elu_derivative,
    rules.elu_derivative_from_y,
    from_y_if=lambda alpha: alpha >= 0.0,
    init="he_normal",
    doc="""ELU: x, or α(eˣ − 1) for x < 0, in (−α, ∞). Clevert et al. 2016, arXiv:1511.07289.

    Strengths: mean nearer to 0 than ReLU's; no dead units. Weaknesses: an exponential.
    For: deep networks without batch normalisation. ``alpha=1.0``, usually 0.5 to 1.5. Initialise
    with He. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.elu(np.array([-np.inf, 3.0]))
    array([-1.,  3.])
    """,
)

selu = Activation(
    rules.selu,
    rules.selu_derivative,
    rules.selu_derivative_from_y,
    init="lecun_normal",
    doc="""SELU: λ·ELU with α = 1.67326… and λ = 1.05070…. Klambauer et al. 2017, arXiv:1706.02515.

    Strengths: keeps mean 0 and variance 1 from layer to layer. Weaknesses: only with LeCun normal
    weights, standardised inputs and alpha dropout. For: deep fully connected networks. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.selu(np.array([0.0, 1.0]))
    array([0.        , 1.05070099])
    """,
)

silu = Activation(
    rules.silu,
    rules.silu_derivative,
    init="he_normal",
    doc="""SiLU or Swish, x·σ(x), in [−0.2785, ∞). Ramachandran, Zoph & Le 2017, arXiv:1710.05941.

    Strengths: smooth, not monotonic; often better than ReLU in deep nets. Weaknesses: an exponential.
    For: deep vision and language networks. Initialise with He. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.silu(np.array([-np.inf, 0.0]))
    array([-0.,  0.])
    """,
)
swish = silu

gelu = Activation(
    rules.gelu,
    rules.gelu_derivative,
    init="he_normal",
    doc="""GELU, x·Φ(x) with the normal distribution function Φ, in [−0.17, ∞). Hendrycks & Gimpel 2016,
    arXiv:1606.08415.

    Strengths: smooth; weighs inputs by how likely they are the larger. Weaknesses: an exponential and a
    polynomial.
    For: transformers. Initialise with He. ≤ 3 ulp in float32, 4 in float64, in the left tail too, where
    PyTorch's is 0.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.gelu(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.84134475])
    """,
)

gelu_tanh = Activation(
    rules.gelu_tanh,
    rules.gelu_tanh_derivative,
    init="he_normal",
    doc="""GELU by tanh, ½x(1 + tanh(√(2/π)(x + 0.044715x³))). Hendrycks & Gimpel 2016, arXiv:1606.08415.

    Strengths: within 0.0005 of GELU. Weaknesses: GELU itself costs no more here.
    For: weights of models that were trained with it (GPT-2, BERT). Initialise with He. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.gelu_tanh(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.84119199])
    """,
)

softplus = Activation(
    rules.softplus,
    rules.softplus_derivative,
    init="he_normal",
    doc="""Softplus, log(1 + e^(βx))/β, in (0, ∞). Dugas et al. 2001.

    Strengths: a smooth ReLU; positive. Weaknesses: never 0; an exponential and a logarithm.
    For: positive outputs (variances, rates). ``beta=1.0`` > 0; the larger, the nearer to ReLU. Initialise
    with He. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.softplus(np.array([-np.inf, 0.0, 3.0]))
    array([0.        , 0.69314718, 3.04858735])
    """,
)

mish = Activation(
    rules.mish,
    rules.mish_derivative,
    init="he_normal",
    doc="""Mish, x·tanh(log(1 + eˣ)), in [−0.3088, ∞). Misra 2019, arXiv:1908.08681.

    Strengths: smooth, not monotonic; often a little better than SiLU. Weaknesses: an exponential.
    For: object detection, deep vision networks. Initialise with He. ≤ 3 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.mish(np.array([-np.inf, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.86509839])
    """,
)

hard_sigmoid = Activation(
    rules.hard_sigmoid,
    rules.hard_sigmoid_derivative,
    init="xavier_normal",
    doc="""Hard sigmoid, (x + 3)/6 within 0 and 1. Courbariaux, Bengio & David 2015, arXiv:1511.00363.

    Strengths: cheap. Weaknesses: no gradient beyond ±3.
    For: gates on small devices. Initialise with Xavier. ≤ 1 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.hard_sigmoid(np.array([-3.0, 0.0, 1.5]))
    array([0.  , 0.5 , 0.75])
    """,
)

hard_swish = Activation(
    rules.hard_swish,
    rules.hard_swish_derivative,
    init="he_normal",
    doc="""Hard swish, x·hard_sigmoid(x), in [−0.375, ∞). Howard et al. 2019, arXiv:1905.02244.

    Strengths: SiLU without its exponential. Weaknesses: no gradient below −3.
    For: vision on small devices. Initialise with He. ≤ 2 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.hard_swish(np.array([-3.0, 1.0, 4.0]))
    array([-0.        ,  0.66666667,  4.        ])
    """,
)

hard_tanh = Activation(
    rules.hard_tanh,
    rules.hard_tanh_derivative,
    init="xavier_normal",
    doc="""Hard tanh: x, at least ``low`` and at most ``high``. Collobert 2004.

    Strengths: cheap; bounded. Weaknesses: no gradient outside.
    For: bounded outputs, recurrent networks. ``low=-1.0 < high=1.0``. Initialise with Xavier. Exact.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.hard_tanh(np.array([-3.0, 0.25, 3.0]))
    array([-1.  ,  0.25,  1.  ])
    """,
)

relu6 = Activation(
    rules.relu6,
    rules.relu6_derivative,
    init="he_normal",
    doc="""ReLU6, max(0, x) and at most 6. Krizhevsky 2010.

    Strengths: bounded, so that few bits hold it. Weaknesses: no gradient outside 0 and 6.
    For: networks that are quantised later. Initialise with He. Exact.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.relu6(np.array([-2.0, 3.0, 8.0]))
    array([0., 3., 6.])
    """,
)

celu = Activation(
    rules.celu,
    rules.celu_derivative,
    init="he_normal",
    doc="""CELU: x, or α(e^(x/α) − 1) for x < 0, in (−α, ∞). Barron 2017, arXiv:1704.07483.

    Strengths: ELU with a continuous derivative for every α. Weaknesses: an exponential.
    For: where ELU with α ≠ 1 is wanted. ``alpha=1.0`` > 0. Initialise with He. ≤ 2 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.celu(np.array([-np.inf, 3.0]), alpha=2.0)
    array([-2.,  3.])
    """,
)

softsign = Activation(
    rules.softsign,
    rules.softsign_derivative,
    init="xavier_normal",
    doc="""Softsign, x/(1 + |x|), in [−1, 1]. Turian, Bergstra & Bengio 2009.

    Strengths: saturates more slowly than tanh; cheap. Weaknesses: its derivative falls off as 1/x².
    For: where tanh saturates. Initialise with Xavier. ≤ 1.5 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.softsign(np.array([-np.inf, 1.0, 3.0]))
    array([-1.  ,  0.5 ,  0.75])
    """,
)

log_sigmoid = Activation(
    rules.log_sigmoid,
    rules.log_sigmoid_derivative,
    doc="""Log-sigmoid, log(1/(1 + e⁻ˣ)), in (−∞, 0].

    Strengths: a log-probability without overflow. Weaknesses: for a loss, rather the loss in one pass.
    For: likelihoods of yes and no, ranking losses. ≤ 2 ulp.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.log_sigmoid(np.array([-1000.0, 0.0]))
    array([-1.00000000e+03, -6.93147181e-01])
    """,
)

soft_shrink = Activation(
    rules.soft_shrink,
    rules.shrink_derivative,
    doc="""Soft shrink: x nearer to 0 by ``threshold``, and 0 within it. Donoho 1995.

    Strengths: makes exact zeros; the proximal step of an L1 penalty. Weaknesses: shifts all the others.
    For: sparse coding. ``threshold=0.5`` ≥ 0. Exact to one rounding.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.soft_shrink(np.array([-2.0, 0.25, 1.0]))
    array([-1.5,  0. ,  0.5])
    """,
)

hard_shrink = Activation(
    rules.hard_shrink,
    rules.shrink_derivative,
    doc="""Hard shrink: x, but 0 within ``threshold``. Donoho & Johnstone 1994.

    Strengths: makes exact zeros and leaves the others. Weaknesses: jumps at the threshold.
    For: sparse coding, denoising. ``threshold=0.5`` ≥ 0. Exact.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.hard_shrink(np.array([-2.0, 0.25, 1.0]))
    array([-2.,  0.,  1.])
    """,
)

tanh_shrink = Activation(
    rules.tanh_shrink,
    rules.tanh_shrink_derivative,
    init="xavier_normal",
    doc="""Tanh shrink, x − tanh x.

    Strengths: smooth; near 0 flat. Weaknesses: no gradient at 0.
    For: sparse coding. Initialise with Xavier. ≤ 2 ulp, near 0 too, where x − tanh(x) has no digit left.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.tanh_shrink(np.array([-1e-5, 1.0]))
    array([-3.33333333e-16,  2.38405844e-01])
    """,
)

sine = Activation(
    rules.sine,
    rules.sine_derivative,
    doc="""Sine, sin(ωx), the product not rounded. Sitzmann et al. 2020, arXiv:2006.09661.

    Strengths: represents fine detail and all derivatives. Weaknesses: wants first weights of its own, uniform
    within √(6/fan_in)/ω.
    For: fields and images as functions of coordinates. ``omega=30.0``. nan for |ωx| > 2¹⁸ in float32 and
    2⁴⁷ in float64. ≤ 1 ulp; its derivative 2.

    Examples
    --------
    >>> import numpy as np, gnumba as gn
    >>> gn.sine(np.array([0.0, 1.0]), omega=0.5)
    array([0.        , 0.47942554])
    """,
)
