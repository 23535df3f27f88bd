"""The public activations: a row each, which names the function, its derivatives and its first weights."""

from .. import rules
from .activation import Activation
from .prelu import PReLU

__all__ = [
    "elu",
    "leaky_relu",
    "prelu",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
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
