"""Settings of PyTorch, optax and Keras under which gnumba's results are equal: pages are made of them,
and tests/test_docs.py runs both sides.

Each side is an expression over ``params``, and for optax and Keras without them, as one types it.
"""

from pathlib import Path
from typing import NamedTuple


class Equal(NamedTuple):
    """A row: gnumba's and the other's, and what is to be known about it."""

    gnumba: str
    theirs: str
    remark: str = ""


PYTORCH = [
    Equal("gn.SGD(params, lr=0.1)", "optim.SGD(params, lr=0.1)", "Their default is 1e-3, ours 0.01."),
    Equal(
        "gn.SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4)",
        "optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4)",
        "L2 in both.",
    ),
    Equal(
        "gn.SGD(params, lr=0.1, momentum=0.9, nesterov=True)",
        "optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True)",
    ),
    Equal(
        "gn.Momentum(params, lr=1.0, momentum=0.9)",
        "optim.SGD(params, lr=0.1, momentum=0.9)",
        "The averaging form: the rate is 1/(1 − β) times as large. Their dampening leaves out the first "
        "step, ours does not, so `Momentum` is not their ``dampening=0.9``.",
    ),
    Equal(
        "gn.Adam(params, lr=1e-3, eps=1e-8)",
        "optim.Adam(params, lr=1e-3)",
        "Their ε is outside the root. ``gn.Adam(params)`` has it inside.",
    ),
    Equal("gn.Adam(params, eps=1e-8, amsgrad=True)", "optim.Adam(params, amsgrad=True)"),
    Equal(
        "gn.AdamW(params, lr=1e-3, eps=1e-8, weight_decay=0.01)",
        "optim.AdamW(params, lr=1e-3)",
        "Their default decay is 0.01, ours 1e-4.",
    ),
    Equal(
        "gn.RMSProp(params, lr=0.01, decay=0.99, eps=1e-8)",
        "optim.RMSprop(params, lr=0.01)",
        "Their α is our ``decay``: 0.99 there, 0.9 here; their rate is 0.01, ours 0.001.",
    ),
    Equal(
        "gn.RMSProp(params, lr=0.01, decay=0.99, eps=1e-8, momentum=0.9, centered=True)",
        "optim.RMSprop(params, lr=0.01, momentum=0.9, centered=True)",
    ),
    Equal("gn.AdaGrad(params, lr=0.01, eps=1e-10)", "optim.Adagrad(params, lr=0.01)"),
    Equal(
        "gn.AdaDelta(params, lr=1.0)", "optim.Adadelta(params, lr=1.0)", "ε is 1e-6 inside the roots in both."
    ),
    Equal("gn.Adamax(params, lr=2e-3)", "optim.Adamax(params, lr=2e-3)"),
    Equal("gn.NAdam(params, lr=2e-3, eps=1e-8)", "optim.NAdam(params, lr=2e-3)"),
    Equal(
        "gn.RAdam(params, lr=1e-3, eps_root=0.0)",
        "optim.RAdam(params, lr=1e-3, eps=0.0)",
        "Their ε is added before v is corrected: equal at ε = 0.",
    ),
    Equal("gn.Rprop(params, lr=0.01)", "optim.Rprop(params, lr=0.01)"),
]

OPTAX = [
    Equal("gn.SGD(params, lr=0.1)", "optax.sgd(0.1)"),
    Equal("gn.SGD(params, lr=0.1, momentum=0.9)", "optax.sgd(0.1, momentum=0.9)"),
    Equal(
        "gn.Momentum(params, lr=0.1)",
        "optax.chain(optax.ema(0.9, debias=False), optax.sgd(0.1))",
        "`Momentum` is an average of the gradients.",
    ),
    Equal(
        "gn.Adam(params, lr=1e-3)",
        "optax.adam(1e-3, eps=0.0, eps_root=1e-8)",
        "Our default, by their names.",
    ),
    Equal("gn.Adam(params, lr=1e-3, eps=1e-8)", "optax.adam(1e-3)", "Their default."),
    Equal(
        "gn.Adam(params, lr=1e-3, weight_decay=0.01)",
        "optax.chain(optax.add_decayed_weights(0.01), optax.adam(1e-3, eps=0.0, eps_root=1e-8))",
        "L2 comes before the moments.",
    ),
    Equal("gn.AdamW(params, lr=1e-3, eps=1e-8)", "optax.adamw(1e-3)", "The decay is 1e-4 in both."),
    Equal(
        "gn.RMSProp(params, lr=1e-3)", "optax.rmsprop(1e-3)", "decay 0.9, ε 1e-8 inside the root, in both."
    ),
    Equal(
        "gn.AdaGrad(params, lr=0.1, eps_root=1e-7)",
        "optax.adagrad(0.1, initial_accumulator_value=0.0)",
        "Theirs begins with G = 0.1, and ε 1e-7 inside the root.",
    ),
    Equal("gn.AdaDelta(params, lr=1.0)", "optax.adadelta(1.0)"),
    Equal("gn.AdaBelief(params, lr=1e-3)", "optax.adabelief(1e-3)"),
    Equal("gn.Lion(params, lr=1e-4)", "optax.lion(1e-4)"),
    Equal("gn.LAMB(params, lr=1e-3)", "optax.lamb(1e-3)"),
    Equal("gn.LARS(params, lr=0.1)", "optax.lars(0.1)"),
    Equal(
        "gn.Adan(params, lr=1e-3, betas=(0.98, 0.5, 0.99))",
        "optax.adan(1e-3, b1=0.98, b2=0.5, b3=0.99)",
        "Theirs multiplies the difference by 1 − β₂, the paper by β₂: equal at 0.5 alone.",
    ),
]

KERAS = [
    Equal("gn.SGD(params, lr=0.01)", "keras.optimizers.SGD(0.01)"),
    Equal("gn.SGD(params, lr=0.01, momentum=0.9)", "keras.optimizers.SGD(0.01, momentum=0.9)"),
    Equal(
        "gn.SGD(params, lr=0.01, weight_decay=0.1, decoupled=True)",
        "keras.optimizers.SGD(0.01, weight_decay=0.1)",
        "Decay is decoupled in all of theirs.",
    ),
    Equal(
        "gn.Adam(params, lr=1e-3, eps=lambda t: 1e-7 / (1 - 0.999 ** (t + 1)) ** 0.5)",
        "keras.optimizers.Adam(1e-3)",
        "Their ε, 1e-7, stands beside the root of v before its correction: as a schedule it is the same. "
        "A few thousand steps on, ``eps=1e-7`` is.",
    ),
    Equal(
        "gn.AdamW(params, lr=1e-3, weight_decay=0.004, eps=lambda t: 1e-7 / (1 - 0.999 ** (t + 1)) ** 0.5)",
        "keras.optimizers.AdamW(1e-3)",
        "Their default decay is 0.004.",
    ),
    Equal(
        "gn.RMSProp(params, lr=1e-3, eps_root=1e-7)", "keras.optimizers.RMSprop(1e-3)", "ε inside the root."
    ),
    Equal(
        "gn.AdaGrad(params, lr=1e-3, eps_root=1e-7)",
        "keras.optimizers.Adagrad(1e-3, initial_accumulator_value=0.0)",
        "Theirs begins with G = 0.1.",
    ),
    Equal(
        "gn.Lion(params, lr=1e-3, weight_decay=0.0)",
        "keras.optimizers.Lion(1e-3)",
    ),
]

TABLES = {"pytorch": PYTORCH, "optax": OPTAX, "keras": KERAS}


def table(rows: list[Equal]) -> str:
    """The rows in reStructuredText: a block for each pair, as expressions are long."""
    made = ""
    for row in rows:
        made += ".. code-block:: python\n\n"
        made += f"   {row.gnumba}\n   {row.theirs}\n\n"
        if row.remark:
            made += f"{row.remark}\n\n"
    return made


def write(folder: Path) -> None:
    """Write the tables that differ."""
    folder.mkdir(exist_ok=True)
    for name, rows in TABLES.items():
        path, text = folder / f"{name}.txt", table(rows)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
