"""
Paths over four landscapes
==========================

Six optimizers go from one point, each with a rate that suits it. Two parameters are enough to see how
they differ; a network has more of everything.
"""

import matplotlib.pyplot as plt
import numpy as np

import gnumba as gn


def rosenbrock(x, y):
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2, (-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2))


def beale(x, y):
    constants = (1, 1.5), (2, 2.25), (3, 2.625)
    terms = [(a + x * (y**n - 1), y**n - 1, n * x * y ** (n - 1)) for n, a in constants]
    return sum(t * t for t, _, _ in terms), tuple(sum(2 * t[0] * t[k] for t in terms) for k in (1, 2))


def ravine(x, y):
    return 0.5 * x**2 + 25 * y**2, (x, 50 * y)


def saddle(x, y):
    return x**2 - y**2 + 0.25 * y**4, (2 * x, -2 * y + y**3)


LANDSCAPES = {  # function, start, minimum, window, rates of SGD and Momentum
    "Rosenbrock": (rosenbrock, (-1.3, 1.6), (1, 1), (-1.9, 1.9, -0.8, 2.6), (0.0012, 0.006)),
    "Beale": (beale, (1.2, 1.6), (3, 0.5), (-0.5, 4.2, -1.2, 2.2), (0.004, 0.02)),
    "ravine": (ravine, (-4.0, 1.0), (0, 0), (-4.6, 1.6, -1.4, 1.4), (0.03, 0.1)),
    "saddle": (saddle, (-1.8, 0.01), (0, 2**0.5), (-2.2, 2.2, -0.6, 2.2), (0.05, 0.2)),
}
STEPS = 250


def optimizers(p, rates):
    return {
        "SGD": gn.SGD(p, lr=rates[0]),
        "Momentum": gn.Momentum(p, lr=rates[1]),
        "AdaGrad": gn.AdaGrad(p, lr=0.4),
        "RMSProp": gn.RMSProp(p, lr=0.02),
        "Adam": gn.Adam(p, lr=0.1),
        "Lion": gn.Lion(p, lr=0.02, weight_decay=0.0),
    }


def path(function, start, name, rates):
    point = np.array(start)
    opt, points = optimizers(point, rates)[name], [point.copy()]
    for _ in range(STEPS):
        opt.step(np.array(function(*point)[1]))
        points.append(point.copy())
    return np.array(points)


names = list(optimizers(np.zeros(2), (0.1, 0.1)))
paths = {
    title: {name: path(function, start, name, rates) for name in names}
    for title, (function, start, _, _, rates) in LANDSCAPES.items()
}


def draw_landscape(ax, title):
    function, _, minimum, (left, right, low, high), _ = LANDSCAPES[title]
    x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(low, high, 200))
    heights = function(x, y)[0]
    heights = np.log1p(heights - heights.min())
    ax.contourf(x, y, heights, 16, cmap="Greys", alpha=0.5)
    ax.plot(*minimum, "*", color="k", markersize=11)
    ax.set(title=title, xlim=(left, right), ylim=(low, high), xticks=[], yticks=[])
    ax.grid(False)


figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.4))
for ax, (title, by_name) in zip(axes.flat, paths.items(), strict=True):
    draw_landscape(ax, title)
    for name, points in by_name.items():
        ax.plot(*points.T, label=name)
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)

# %%
# * **Rosenbrock**: a curved valley with a flat floor. Adam and Lion follow the floor; SGD falls into the
#   valley and crawls, and so does AdaGrad, whose rate the steep first steps have used up.
# * **Beale**: steep walls and wide plains. A rate that is safe on the walls is slow on the plains.
# * **Ravine**: fifty times as steep across as along. SGD swings across it; momentum averages the swings
#   away; a rate for each element (AdaGrad, RMSProp, Adam) makes both directions alike.
# * **Saddle**: the start is almost on the ridge. SGD and Momentum wait where the gradient is almost 0;
#   rules that divide by its size, or take its sign, leave at once.
#
# How far each is from the minimum after 250 steps:

print(f"{'':10}" + "".join(f"{title:>12}" for title in LANDSCAPES))
for name in names:
    ends = [np.linalg.norm(paths[t][name][-1] - LANDSCAPES[t][2]) for t in LANDSCAPES]
    print(f"{name:10}" + "".join(f"{end:12.4f}" for end in ends))

# %%
# In motion: the first 120 steps in the ravine and over the saddle.

from lab import Film

figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.6))
lines = {}
for ax, title in zip(axes, ("ravine", "saddle"), strict=True):
    draw_landscape(ax, title)
    lines |= {(title, name): ax.plot([], [], label=name)[0] for name in names}
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def draw(frame):
    for (title, name), line in lines.items():
        line.set_data(*paths[title][name][: 4 * frame + 2].T)


film = Film(figure, draw, 30, "Six optimizers move through a ravine and away from a saddle")
plt.close(figure)
film
