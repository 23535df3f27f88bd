"""
Speed by size, and the roofline
===============================

A step of Adam over one float32 array: it reads four arrays and writes three, 28 bytes an element, and
computes little. Above some hundred thousand elements it goes about as fast as the memory, the line
"memory": the same arrays read and written by the same loop, with a single addition each. The curves were
measured one after another on a shared machine, and differ from the README's table, whose contenders take
turns, by up to a factor of 2. Measured by
``python tools/figures.py speed``; ``python -m gnumba bench`` measures your machine.
"""

import lab
import matplotlib.pyplot as plt
import numpy as np

data = lab.measured("speed")
sizes = np.array(data["sizes"])

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 7.2), sharex=True)
for name, seconds in data["seconds"].items():
    style = {"color": "gray", "linestyle": ":"} if name == "memory" else {"marker": "o", "markersize": 4}
    top.loglog(sizes, np.array(seconds) * 1e6, label=name, **style)
    bottom.loglog(sizes, data["bytes_an_element"] * sizes / np.array(seconds) / 1e9, label=name, **style)
top.set(ylabel="µs a step", title="time")
bottom.set(xlabel="elements", ylabel="GB/s read and written", title="roofline")
top.legend()

ratios = np.array(data["seconds"]["NumPy, out="]) / np.array(data["seconds"]["gnumba"])
for n, ratio, taken in zip(sizes, ratios, data["seconds"]["gnumba"], strict=True):
    print(f"{n:>9,} elements: {taken * 1e6:10.1f} µs, NumPy takes {ratio:4.1f} times as long")
print(data["day"], data["processor"], data["versions"], sep="\n")
