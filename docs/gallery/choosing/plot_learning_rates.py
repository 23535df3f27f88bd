"""
The learning rate matters most
==============================

Each optimizer with rates over five decades: the loss after eight epochs on the digits. A good rate is a
few times below the one where training breaks, and each rule has a place of its own where that is.
"""

from functools import partial

import lab
import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

OPTIMIZERS = {
    "SGD": lambda p, lr: gn.SGD(p, lr=lr),
    "Momentum": lambda p, lr: gn.Momentum(p, lr=lr),
    "AdaGrad": lambda p, lr: gn.AdaGrad(p, lr=lr),
    "RMSProp": lambda p, lr: gn.RMSProp(p, lr=lr),
    "Adam": lambda p, lr: gn.Adam(p, lr=lr),
    "Lion": lambda p, lr: gn.Lion(p, lr=lr, weight_decay=0.0),
}
RATES = np.logspace(-5, 1, 13)

data = lab.digits()
figure, ax = plt.subplots(figsize=(6.4, 4.4))
for name, make in OPTIMIZERS.items():
    ends = [lab.train(partial(make, lr=lr), data, epochs=8).losses[-1] for lr in RATES]
    ends = np.nan_to_num(np.minimum(ends, 5.0), nan=5.0)
    ax.loglog(RATES, np.maximum(ends, 1e-4), "o-", markersize=4, label=name)
    print(f"{name:9} best rate {RATES[np.argmin(ends)]:.1g}: loss {np.min(ends):.4f}")
ax.axhline(np.log(10), color="gray", linewidth=1, linestyle=":")
ax.text(10, np.log(10) * 0.6, "guessing", color="gray", fontsize=9, ha="right")
ax.set(xlabel="learning rate", ylabel="training loss after 8 epochs")
ax.legend(ncols=2)

# %%
# Left of its best rate a rule crawls, right of it the loss explodes or stays at guessing. The valley of
# the adaptive rules lies at smaller rates than that of SGD, since their steps do not shrink with the
# gradient. Try 1e-3 for Adam, a tenth of that for Lion, 0.1 for SGD; then go by factors of 3.
