"""
Batch sizes, and alternating ones
=================================

Small batches take many noisy steps an epoch, large ones few good ones. ``gn.minibatches`` takes a
number, ``None`` for everything (gradient descent), a schedule, or a plan of phases.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn

SIZES = {
    "16": 16,
    "64": 64,
    "256": 256,
    "all (gradient descent)": None,
    "16 and 256 in turn": gn.schedules.alternate(16, 256, every=5),
}
data = lab.digits()
courses = {
    name: lab.train(lambda p: gn.SGD(p, lr=0.1), data, epochs=15, batch_size=size)
    for name, size in SIZES.items()
}

figure, (left, right) = plt.subplots(2, 1, figsize=(6.4, 6.4))
for name, course in courses.items():
    left.semilogy(np.arange(1, 16), course.losses, label=name)
    window = np.ones(5) / 5
    right.semilogy(np.convolve(course.batches, window, "valid")[:150], linewidth=1.2, label=name)
left.set(xlabel="epoch", ylabel="training loss", title="by passes over the data")
right.set(xlabel="step", ylabel="loss of a batch, mean of 5", title="by steps")
left.legend()

# %%
# By epochs the small batches are ahead, at this rate, which is the same for all: they take more steps.
# By steps all are alike, and the large ones smoother. Batches in turn lie between: noise that gets out
# of bad places, then steps that are sure of their direction. 32, 64 or 128 are the sizes to begin with.
# Where the batch grows k times, SGD's rate may grow about k times too, Adam's about √k times:

for name, lr in (("64, lr 0.1", (64, 0.1)), ("256, lr 0.1", (256, 0.1)), ("256, lr 0.4", (256, 0.4))):
    course = lab.train(lambda p, lr=lr[1]: gn.SGD(p, lr=lr), data, epochs=15, batch_size=lr[0])
    print(f"batches of {name:12} loss {course.losses[-1]:.4f}")
