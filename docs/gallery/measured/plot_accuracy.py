"""
float32 errors over the line
============================

The largest error of a result, in units of its last place (ulp), from part to part of the line; beside it
PyTorch's. Measured once, by ``python tools/figures.py accuracy``. The largest errors over all 2³² inputs
are in ``benchmarks/accuracy.md``.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

data = lab.measured("accuracy")
x = np.array(data["x"])

figure, axes = plt.subplots(4, 2, figsize=(6.4, 9.6), sharex=True)
for ax, (name, ulp) in zip(axes.flat, data["ulp"].items(), strict=True):
    for library, style in (("PyTorch", "--"), ("gnumba", "-")):
        ax.plot(x, np.clip(ulp[library], 0.1, 1e6), style, label=library, linewidth=1.4)
    ax.set_xscale("symlog", linthresh=2.0**-6, linscale=0.5)
    ax.set(title=name, yscale="log", ylim=(0.1, 2e6), xticks=[-100, -1, 0, 1, 100])
for ax in axes[:, 0]:
    ax.set_ylabel("ulp")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)

for name, ulp in data["ulp"].items():
    print(f"{name:12} gnumba {max(ulp['gnumba']):8.2f}   PyTorch {max(ulp['PyTorch']):12.2f}")
print(data["day"], data["processor"], data["versions"] + f", PyTorch {data['torch']}", sep="\n")

# %%
# Where the dashed line leaves the other, the formula that PyTorch computes loses digits, in the tail on the
# left as a rule. In training that is seldom felt; in a logarithm of a probability it is.
