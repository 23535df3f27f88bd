"""
Every activation and its derivative
===================================

Each is one object: ``gn.relu(x)``, ``gn.relu.derivative(x)``, and ``gn.relu.backward(dy, x)`` in one pass.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

names = [name for name in gn.__all__ if isinstance(getattr(gn, name), gn.Activation) and name != "swish"]
names = [name for name in names if name not in ("swiglu", "geglu", "reglu", "glu")]  # of two arrays
hyper = {"prelu": (0.25,), "sine": (2.0,)}
x = np.linspace(-4, 4, 401)

figure, axes = plt.subplots(-(-len(names) // 3), 3, figsize=(6.4, 13.5), sharex=True)
for ax, name in zip(axes.flat, names, strict=False):
    act = getattr(gn, name)
    ax.plot(x, act(x, *hyper.get(name, ())), label="f(x)")
    ax.plot(x, act.derivative(x, *hyper.get(name, ())), "--", linewidth=1.3, label="f′(x)")
    ax.set(title=name, ylim=(-2.1, 3.1))
for ax in axes.flat[len(names) :]:
    ax.axis("off")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)

# %%
# Ranges over −10,000 to 10,000, and the derivative at 0:

wide = np.concatenate([-np.logspace(4, -4, 4000), [0], np.logspace(-4, 4, 4000)])
print(f"{'':14}{'smallest':>10}{'largest':>12}{'f′(0)':>8}")
for name in names:
    act, arguments = getattr(gn, name), hyper.get(name, ())
    y = act(wide, *arguments)
    slope = act.derivative(np.zeros(1), *arguments)[0]
    print(f"{name:14}{y.min():10.4g}{y.max():12.4g}{slope:8.3g}")
