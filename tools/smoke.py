"""Does an installed gnumba work? A network learns, is saved, and goes on with the same bits.

    python tools/smoke.py

Nothing but gnumba's own dependencies is needed; a source tree beside it is not looked at.
"""

import tempfile
from pathlib import Path

import numpy as np

import gnumba as gn


def train(steps: int, path: Path | None = None) -> tuple[list[float], dict[str, np.ndarray]]:
    """Losses and parameters; with a path, from what is saved there on, or saved there halfway."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 8)).astype(np.float32)
    target = np.sin(x.sum(axis=1, keepdims=True))
    params = {"w1": gn.init.he_normal((8, 64), rng=rng), "w2": gn.init.he_normal((64, 1), rng=rng)}
    opt = gn.AdamW(params, lr=gn.schedules.cosine(1e-2, 400), max_norm=1.0)
    if path and path.exists():
        gn.load_checkpoint(path, params, opt)
    losses = []
    while opt.t < steps:
        a = x @ params["w1"]
        h = gn.silu(a)
        loss, dy = gn.losses.mse(h @ params["w2"], target)
        da = gn.silu.backward(dy @ params["w2"].T, a)
        opt.step({"w1": x.T @ da, "w2": h.T @ dy})
        losses.append(loss)
    if path and not path.exists():
        gn.save_checkpoint(path, params, opt)
    return losses, params


def main() -> None:
    losses, params = train(400)
    if not losses[-1] < 0.2 * losses[0]:
        raise SystemExit(f"the loss went from {losses[0]} to {losses[-1]}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half.safetensors"
        train(200, path)
        _, resumed = train(400, path)
    for name, p in params.items():
        if not np.array_equal(p, resumed[name]):
            raise SystemExit(f"{name} differs after it was saved and loaded")
    print(f"gnumba {gn.__version__} at {Path(gn.__file__).parent}: loss {losses[0]:.3f} to {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
