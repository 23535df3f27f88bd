"""
Loss curves of the optimizers
=============================

The optimizers that train on mini-batches of any parameters, on the digits, from the same weights and with
the same batches. The rates are right to a factor of three, no more: the picture shows how each behaves,
not who wins.
"""

import lab
import matplotlib.pyplot as plt

import gnumba as gn

FAMILIES = {
    "descent and signs": {
        "SGD": lambda p: gn.SGD(p, lr=0.1),
        "SGD, Nesterov 0.9": lambda p: gn.SGD(p, lr=0.03, momentum=0.9, nesterov=True),
        "Momentum": lambda p: gn.Momentum(p, lr=0.3),
        "Lion": lambda p: gn.Lion(p, lr=3e-4),
        "LARS": lambda p: gn.LARS(p, lr=3.0),
    },
    "a rate for each element": {
        "AdaGrad": lambda p: gn.AdaGrad(p, lr=0.02),
        "RMSProp": lambda p: gn.RMSProp(p, lr=1e-3),
        "AdaDelta": lambda p: gn.AdaDelta(p),
        "ScheduleFreeSGD": lambda p: gn.ScheduleFreeSGD(p, lr=1.0),
        "ScheduleFreeAdamW": lambda p: gn.ScheduleFreeAdamW(p, lr=3e-3),
    },
    "Adam and its kin": {
        "Adam": lambda p: gn.Adam(p, lr=3e-3),
        "AdamW": lambda p: gn.AdamW(p, lr=3e-3, weight_decay=0.05),
        "NAdam": lambda p: gn.NAdam(p, lr=3e-3),
        "RAdam": lambda p: gn.RAdam(p, lr=3e-3),
        "Adamax": lambda p: gn.Adamax(p, lr=5e-3),
        "AdaBelief": lambda p: gn.AdaBelief(p, lr=1e-3),
        "Adan": lambda p: gn.Adan(p, lr=3e-3),
    },
}
EPOCHS = 15
data = lab.digits()

figure, axes = plt.subplots(3, 1, figsize=(6.4, 10.0), sharex=True, sharey=True)
for ax, (title, family) in zip(axes, FAMILIES.items(), strict=True):
    for name, make in family.items():
        course = lab.train(make, data, epochs=EPOCHS)
        ax.semilogy(range(1, EPOCHS + 1), course.losses, label=name)
        print(f"{name:18} training loss {course.losses[-1]:.5f}  test accuracy {course.accuracies[-1]:.3f}")
    ax.set(title=title, ylabel="training loss")
    ax.legend(ncols=2, fontsize=9)
axes[-1].set_xlabel("epoch")

# %%
# LAMB is for batches of thousands, Muon for matrices alone (beside AdamW for the rest), Rprop for the whole
# data at once; they have no curve here. A schedule-free optimizer is evaluated inside
# ``with opt.averaged():``, where its weights are better than what this picture shows.
