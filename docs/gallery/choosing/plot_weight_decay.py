"""
Weight decay: L2 and decoupled
==============================

500 images, of which three in ten have a wrong label: a network of nine thousand weights learns them by
heart, the wrong ones too. Weight decay holds it back, as L2 or decoupled.
"""

from functools import partial

import lab
import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

DECAYS = np.array([1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0])
data, rng = lab.digits(), np.random.default_rng(0)
few = data._replace(x=data.x[:500], labels=data.labels[:500].copy())
wrong = rng.random(500) < 0.3
few.labels[wrong] = rng.integers(10, size=wrong.sum())


def norm_and_accuracy(make):
    network = lab.Network(sizes=(64, 128, 10))
    course = lab.train(make, few, epochs=60, batch_size=32, network=network)
    return gn.global_norm([network.params["W1"], network.params["W2"]]), course.accuracies[-1]


figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 6.0), sharex=True)
for name, make in {
    "AdamW, decoupled": lambda p, decay: gn.AdamW(p, lr=3e-3, weight_decay=decay),
    "Adam, L2": lambda p, decay: gn.Adam(p, lr=3e-3, weight_decay=decay),
}.items():
    norms, accuracies = np.transpose([norm_and_accuracy(partial(make, decay=d)) for d in DECAYS])
    print(f"{name}: best test accuracy {max(accuracies):.3f} at λ = {DECAYS[np.argmax(accuracies)]:g}")
    top.semilogx(DECAYS, norms, "o-", label=name)
    bottom.semilogx(DECAYS, accuracies, "o-", label=name)
top.set(ylabel="norm of the weights")
bottom.set(xlabel="weight_decay λ", ylabel="test accuracy")
top.legend()

# %%
# The same number means different things. AdamW pulls every weight by ηλ of itself a step, whatever its
# gradient was. As L2 the pull goes through Adam's division by the gradients' size: where the loss's own
# gradients are small it makes whole steps, so that a λ which AdamW hardly feels leaves nothing of the
# network. A wide range of λ does well in AdamW, a narrow one as L2.
#
# Begin with 0.01 to 0.1 in AdamW (more where data is scarce or wrong, as here) and 1e-6 to 1e-4 as Adam's L2,
# and spare biases and slopes with ``decay_mask`` (:doc:`/recipes/groups`).
