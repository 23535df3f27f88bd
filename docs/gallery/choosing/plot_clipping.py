"""
Clipping in a recurrent network
===============================

A gradient that goes back through 64 characters passes the same matrix 64 times, and now and then it
explodes. One such step throws the weights away. ``max_norm`` bounds it. The network is
``examples/clipped_rnn.py``; the text is Python's own help.
"""

from pydoc_data.topics import topics

import clipped_rnn
import matplotlib.pyplot as plt
import numpy as np

text = np.unique(list("\n".join(topics.values())[:70_000]), return_inverse=True)[1]

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 6.0), sharex=True)
for name, options in clipped_rnn.RUNS.items():
    network = clipped_rnn.Network(text.max() + 1, seed=0)
    losses, norms = clipped_rnn.train(network, text, epochs=2, **options)
    label = f"{name}, lr {options['lr']:g}"
    top.semilogy(clipped_rnn.smooth(losses), label=label)
    bottom.semilogy(norms, linewidth=0.8, label=label)
    print(f"{label:32} loss of the last tenth {losses[-len(losses) // 10 :].mean():.2f}")
top.set(ylabel="loss, smoothed")
bottom.set(xlabel="step", ylabel="norm before clipping")
top.legend()

# %%
# Clipping makes the high rate usable. Take 1.0 or 5.0 for a recurrent network, or look at
# ``opt.grad_norm`` for some hundred steps with ``max_norm=math.inf``, and take what nine of ten are
# below. A transformer is usually clipped at 1.0; a network for images hardly needs it.
