"""A user's script, for type checkers: what calls return, and, where a line says so, what they refuse.

`test_typing.py` has mypy read it; a line with ``error`` in its comment must be refused, every other taken.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import gnumba as gn

x = np.zeros((8, 4), np.float32)
params = {"w": np.zeros((4, 2)), "b": np.zeros(2)}

# First weights.
w = gn.init.he_normal((4, 2), rng=0)
assert_type(w, np.ndarray[Any, np.dtype[np.floating[Any]]])
bias: NDArray[np.float32] = gn.init.constant(3, 0.25, like=x)
bias = gn.init.constant(3, 0.25, like="x")  # error
gn.init.orthogonal((4, 2), gain=np.float32(2.0), rng=np.random.default_rng(0))
gn.init.he_normal((4, 2), rng="seed")  # error
gn.init.he_normal("4, 2", rng=0)  # error
gn.init.he_normal((4, 2), seed=0)  # error
gn.init.normal((4, 2), std="0.1")  # error
gn.init.kaiming_normal((4, 2))  # error

# Schedules.
cosine = gn.schedules.cosine(0.1, 100, final=0.01)
assert_type(cosine, gn.schedules.cosine)
float(cosine(3))
gn.schedules.warmup(gn.schedules.cosine_restarts(0.1, 10, factor=2.0), 5)
gn.schedules.warmup_cosine(0.1, 10, 100)
gn.schedules.inverse_sqrt(0.1, 4000)
gn.schedules.one_cycle(0.1, 100, warm_fraction=0.5)
plateau = gn.schedules.ReduceOnPlateau(0.1, mode="max")
plateau.observe(1.0)
plateau.rate = 0.5
gn.schedules.cosine("0.1", 100)  # error
gn.schedules.cosine(0.1, T_max=100)  # error
gn.schedules.one_cycle(0.1, 100, 25.0)  # error
gn.schedules.ReduceOnPlateau(0.1, mode="mean")  # error
cosine.lr = 0.2  # error
gn.schedules.CosineAnnealingLR(0.1, 100)  # error

# Optimizers.
opt = gn.Adam(params, lr=1e-3, betas=(0.9, 0.99), max_norm=1.0, nonfinite="skip")
assert_type(opt, gn.Adam)
opt.step({"w": np.zeros((4, 2)), "b": None}, grad_scale=2.0)
gn.SGD(x, lr=cosine, momentum=np.float32(0.9))
gn.SGD(x, lr=lambda t: 0.1 / (t + 1))
gn.RMSProp(params, lr=np.array(0.1))
gn.Adam(params, lr="1e-3")  # error
gn.Adam(params, nonfinite="ignore")  # error
gn.Adam(params, learning_rate=1e-3)  # error
gn.SGD(params, momentum="0.9")  # error
gn.Adam(3.0)  # error
gn.RMSprop(params)  # error

# Activations.
y: NDArray[np.float32] = gn.relu(x)
slope: NDArray[np.float32] = gn.leaky_relu.backward(x, y, 0.2)
masked: NDArray[np.float32] = gn.dropout(x, 0.5, (0, 1))
number: float = gn.relu(x)  # error
number = gn.leaky_relu.backward(x, y, 0.2)  # error
number = gn.dropout(x, 0.5, (0, 1))  # error

# Around the loop.
for batch in gn.minibatches(x, np.arange(8), batch_size=4, rng=0):
    assert_type(batch, tuple[Any, ...])
gn.minibatches(x, shuffel=True)  # error
assert_type(gn.target_of(x), str)
with gn.use_target("cpu"):
    gn.tanh(x, out=x)
with gn.use_target("gpu"):  # error
    pass


# A rule of one's own.
@gn.rule
def signed(p: float, g: float, /, lr: float) -> float:
    """Step by the sign."""
    return p - lr * gn.elementary.sign(g)


@gn.rule(initial={"m": 1.0})
def kept(p: float, g: float, m: float, /, lr: float) -> tuple[float, float]:
    """Step by a mean."""
    return p - lr * m, 0.5 * (m + g)


assert_type(signed, gn.Rule)
assert_type(kept, gn.Rule)
assert_type(gn.optimizer(signed, params, lr=0.1), gn.Optimizer)
