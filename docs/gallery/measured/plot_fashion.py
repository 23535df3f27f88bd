"""
Loss curves on Fashion-MNIST
============================

60,000 images of clothes, a network of 784, 256, 128 and 10 units, batches of 128. Measured once, by
``python tools/figures.py fashion``, with Debian's ``dataset-fashion-mnist``.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

data = lab.measured("fashion")
epochs = range(1, data["epochs"] + 1)

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 6.4), sharex=True)
for name, runs in data["runs"].items():
    losses, accuracies = (np.array([run[key] for run in runs]) for key in ("losses", "accuracies"))
    top.semilogy(epochs, losses.mean(axis=0), label=name)
    bottom.plot(epochs, accuracies.mean(axis=0), label=name)
    print(f"{name:16} training loss {losses[:, -1].mean():.3f}  test accuracy {accuracies[:, -1].mean():.4f}")
top.set(ylabel="training loss")
bottom.set(xlabel="epoch", ylabel="test accuracy")
bottom.legend()

print(data["day"], data["processor"], data["versions"], sep="\n")

# %%
# A falling rate is worth more here than the choice of the rule: AdamW with a cosine ends well above the
# others, which lie close together. Adam, then SGD, is no better than Adam alone, in eight epochs.
