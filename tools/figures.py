"""Measure what the documentation shows and is too long for its build: docs/data/*.json.

    python tools/figures.py speed costs accuracy fashion picture

Each file names its machine, day and versions, and the pages print them. ``speed`` and ``costs`` want
the machine to themselves (a minute); ``accuracy`` needs PyTorch; ``fashion`` needs Debian's
dataset-fashion-mnist (ten minutes).
"""

import argparse
import datetime
import gzip
import json
import platform
import runpy
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

import gnumba as gn

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs" / "data"
FASHION = Path("/usr/share/datasets/fashion-mnist")

CURVES = ("tanh", "sigmoid", "silu", "gelu", "elu", "softplus", "mish", "log_sigmoid")
PYTORCH = {"log_sigmoid": "logsigmoid"}  # its names, where they differ
EXPONENTS = range(-12, 8)  # of the smallest and largest inputs, powers of two


def machine() -> dict[str, str]:
    """Day, processor and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "day": datetime.date.today().isoformat(),
        "processor": f"{model or platform.processor()}, {gn.info()['threads']} threads",
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, gnumba {gn.__version__}",
    }


# Speed.


def numpy_adam(p, g, m, v, a, b, t, lr=1e-3, beta1=0.9, beta2=0.999):
    """A step as one writes it by hand, without temporaries."""
    np.multiply(m, beta1, out=m)
    np.multiply(g, 1 - beta1, out=a)
    np.add(m, a, out=m)
    np.multiply(v, beta2, out=v)
    np.multiply(g, g, out=a)
    np.multiply(a, 1 - beta2, out=a)
    np.add(v, a, out=v)
    np.divide(v, 1 - beta2**t, out=a)
    np.add(a, 1e-8, out=a)
    np.sqrt(a, out=a)
    np.divide(m, a, out=b)
    np.multiply(b, lr / (1 - beta1**t), out=b)
    np.subtract(p, b, out=p)


@gn.rule
def touch(p, g, m, v, /):
    """Adam's memory traffic, with nothing to compute: seven arrays a step."""
    return p + g, m + g, v + g


def seconds(step, budget):
    """The median time of a call."""
    step()
    step()
    begun, times = time.perf_counter(), []
    count = 1
    while time.perf_counter() - begun < budget or len(times) < 5:
        start = time.perf_counter()
        for _ in range(count):
            step()
        taken = time.perf_counter() - start
        if taken < 2e-4 and not times:
            count *= 4
            continue
        times.append(taken / count)
    return float(np.median(times))


def speed(budget: float = 0.7) -> dict[str, object]:
    """Seconds a step of one float32 array by its size."""
    sizes = [int(10**k) for k in np.arange(2, 7.6, 0.5)]
    rng = np.random.default_rng(0)
    made: dict[str, list[float]] = {"gnumba": [], "gnumba, one core": [], "NumPy, out=": [], "memory": []}
    for n in sizes:
        p, g, a, b = (rng.standard_normal(n).astype(np.float32) for _ in range(4))
        m, v = np.zeros_like(p), np.ones_like(p)
        adam, probe = gn.Adam(p), gn.optimizer(touch, p.copy())
        made["gnumba"].append(seconds(lambda adam=adam, g=g: adam.step(g), budget))
        with gn.use_target("cpu"):
            made["gnumba, one core"].append(seconds(lambda adam=adam, g=g: adam.step(g), budget))
        step = [0]

        def by_hand(arrays=(p, g, m, v, a, b), step=step):
            step[0] += 1
            numpy_adam(*arrays, step[0])

        made["NumPy, out="].append(seconds(by_hand, budget))
        zeros = np.zeros_like(g)
        made["memory"].append(seconds(lambda probe=probe, zeros=zeros: probe.step(zeros), budget))
    return {"sizes": sizes, "seconds": made, "bytes_an_element": 28}


def costs(size: int = 100_000, rounds: int = 41) -> dict[str, object]:
    """Nanoseconds an element, forward and backward, on one core, with arrays that stay in the cache.

    The functions take turns, so that a busy moment of the machine is not one function's; the median counts.
    """
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    dy, out, slope = np.ones_like(x), np.empty_like(x), {"prelu": (0.25,)}
    works = {("copy", "copy"): lambda: np.copyto(out, x)}
    for name in gn.__all__:
        act, given = getattr(gn, name), slope.get(name, ())
        if isinstance(act, gn.Activation) and name not in ("swish", "swiglu", "geglu", "reglu", "glu"):
            works[name, "forward"] = lambda act=act, given=given: act(x, *given, out=out)
            works[name, "backward"] = lambda act=act, given=given: act.backward(dy, x, *given)
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in works}
    with gn.use_target("cpu"):
        for work in works.values():
            work()
        for _ in range(rounds):
            for key, work in works.items():
                work()
                start = time.perf_counter()
                for _ in range(5):
                    work()
                taken[key].append((time.perf_counter() - start) / 5)
    median = {key: round(1e9 * float(np.median(times)) / size, 4) for key, times in taken.items()}
    names = [name for name, what in works if what == "forward"]
    return {
        "elements": size,
        "nanoseconds": {name: [median[name, "forward"], median[name, "backward"]] for name in names},
        "copy": median["copy", "copy"],
    }


# Accuracy.


def accuracy(count: int = 20_000) -> dict[str, object]:
    """The largest float32 error in ulp of the result, in each half of each binade, of gnumba and PyTorch.

    The reference is gnumba's float64, whose own error is in benchmarks/accuracy.md.
    """
    import torch

    peers = {name: getattr(torch.nn.functional, PYTORCH.get(name, name)) for name in CURVES}
    rng = np.random.default_rng(0)
    edges = np.array([2.0**e * half for e in EXPONENTS for half in (1.0, 1.5)] + [2.0**EXPONENTS.stop])
    parts = np.array([*pairwise(-edges[::-1]), *pairwise(edges)])
    inputs = rng.uniform(*parts.T[..., None], (len(parts), count)).astype(np.float32)
    made = {}
    for name in CURVES:
        act, peer = getattr(gn, name), peers[name]
        exact = act(inputs.astype(np.float64))
        ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
        results = {"gnumba": act(inputs), "PyTorch": peer(torch.from_numpy(inputs)).numpy()}
        made[name] = {
            library: np.max(np.abs(y - exact) / ulp, axis=1).round(3).tolist()
            for library, y in results.items()
        }
    where = parts.mean(axis=1)
    return {"torch": torch.__version__, "x": [float(f"{x:.6g}") for x in where], "ulp": made}


# Fashion-MNIST.


def idx(name: str) -> np.ndarray:
    """An array of Yann LeCun's format."""
    with gzip.open(FASHION / name) as file:
        raw = file.read()
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def fashion(epochs: int = 8, seeds: int = 2) -> dict[str, object]:
    """Training loss and test accuracy by epoch: all 60,000 images, two hidden layers."""
    sys.path.insert(0, str(ROOT / "docs"))
    import lab

    if not FASHION.exists():
        raise SystemExit(f"{FASHION} is not there: apt install dataset-fashion-mnist")
    x, test_x = (idx(f"{part}-images-idx3-ubyte.gz").reshape(-1, 784) for part in ("train", "t10k"))
    mean, std = x.mean(), x.std()
    x, test_x = (((rows - mean) / std).astype(np.float32) for rows in (x, test_x))
    labels, test_labels = (idx(f"{part}-labels-idx1-ubyte.gz").astype(np.int64) for part in ("train", "t10k"))
    data = lab.Data(x, labels, test_x, test_labels)
    steps = epochs * -(-len(x) // 128)
    ways = {
        "SGD": lambda p: gn.SGD(p, lr=0.1),
        "Momentum": lambda p: gn.Momentum(p, lr=0.3),
        "RMSProp": lambda p: gn.RMSProp(p, lr=5e-4),
        "Adam": lambda p: gn.Adam(p, lr=1e-3),
        "AdamW, cosine": lambda p: gn.AdamW(p, lr=gn.schedules.cosine(2e-3, steps), weight_decay=0.01),
        "Adam, then SGD": lambda p: gn.Phases(
            p,
            [
                gn.Phase(gn.Adam, steps=steps // 4, lr=1e-3, batch_size=128),
                gn.Phase(gn.SGD, lr=0.05, batch_size=128),
            ],
        ),
    }
    made = {}
    for name, make in ways.items():
        runs = []
        for seed in range(seeds):
            network = lab.Network(sizes=(784, 256, 128, 10), seed=seed)
            course = lab.train(make, data, epochs=epochs, batch_size=128, seed=seed, network=network)
            rounded = {"losses": course.losses, "accuracies": course.accuracies}
            runs.append({key: values.round(5).tolist() for key, values in rounded.items()})
        made[name] = runs
        print(f"{name:16} {np.mean([run['accuracies'][-1] for run in runs]):.4f}")
    return {"epochs": epochs, "runs": made}


# README's picture.


def picture() -> None:
    """The gallery's paths over four landscapes, as docs/_static/paths.png."""
    import matplotlib.pyplot as plt
    from PIL import Image

    sys.path.insert(0, str(ROOT / "docs"))
    import gallery_setup

    gallery_setup.reset(None, None)
    runpy.run_path(str(ROOT / "docs" / "gallery" / "paths" / "plot_paths.py"))
    path = ROOT / "docs" / "_static" / "paths.png"
    plt.figure(1).savefig(path, dpi=120)
    Image.open(path).convert("RGB").save(path, optimize=True)


MEASURED = {"speed": speed, "costs": costs, "accuracy": accuracy, "fashion": fashion}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="+", choices=[*MEASURED, "picture"])
    for name in parser.parse_args().what:
        if name == "picture":
            picture()
            continue
        made = {"command": f"python tools/figures.py {name}"} | machine() | MEASURED[name]()
        path = DATA / f"{name}.json"
        path.write_text(json.dumps(made, ensure_ascii=False, indent=None, separators=(",", ": ")) + "\n")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
