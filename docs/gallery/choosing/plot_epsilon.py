"""
Where ε stands
==============

Adam divides by √(v̂ + ``eps_root``) + ``eps``. gnumba's default is inside the root, a floor of 1e-4
under the denominator; ``eps=1e-8`` alone is PyTorch's form, a floor of 1e-8. The step for a constant
gradient g:
"""

import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

SIZES = np.logspace(-10, 0, 41)
FORMS = {
    "default: eps_root=1e-8": {},
    "eps=1e-8 (PyTorch)": {"eps": 1e-8},
    "eps_root=1e-16": {"eps_root": 1e-16},
}

figure, ax = plt.subplots()
for name, form in FORMS.items():
    p = np.zeros(len(SIZES))
    gn.Adam(p, lr=1.0, **form).step(SIZES)
    ax.loglog(SIZES, -p, label=name)
ax.set(xlabel="gradient", ylabel="step, in units of the rate", ylim=(1e-7, 3))
ax.legend()

for g in (1e-2, 1e-4, 1e-6):
    p, q = np.zeros(1), np.zeros(1)
    gn.Adam(p, lr=1.0).step(np.array([g]))
    gn.Adam(q, lr=1.0, eps=1e-8).step(np.array([g]))
    print(f"g = {g:g}: {-p[0]:.3f} by default, {-q[0]:.3f} with eps=1e-8")

# %%
# Inside the root, gradients below 1e-4 make small steps: noise that is all there is stays small. Outside,
# even a gradient of 1e-6 makes a whole step, and a network with tiny gradients (a small loss scale, a
# deep sigmoid net) keeps moving. If a loss is flat and its gradients are below 1e-4, try ``eps=1e-8``.
