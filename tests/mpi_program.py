"""``mpiexec -n 2 python -m mpi4py mpi_program.py WHAT``: what the tests run on real ranks.

Each part trains or misleads the ranks and returns what rank 0 prints as JSON.
"""

import hashlib
import json
import os
import signal
import sys
import time

import numpy as np
from mpi4py import MPI

import gnumba as gn

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.Get_rank(), WORLD.Get_size()
MICRO, STEPS, SKIPPED = 8, 6, 3
SHAPES = {"w0": (64, 96), "b0": (96,), "scale": (), "w1": (96, 50), "b1": (50,), "w2": (50, 10)}


def model(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}


def gradients(t, k, params):
    """Of micro-batch k of step t; one element of one is nan in one step."""
    rng = np.random.default_rng((t, k))
    made = {name: np.asarray(rng.standard_normal(p.shape), p.dtype) for name, p in params.items()}
    if (t, k) == (SKIPPED, 5):
        made["w1"][3, 4] = np.nan
    return made


def train(opt, params, steps):
    size = opt.comm.size
    each = MICRO // size
    for t in steps:
        opt.step(gradients(t, opt.comm.rank * each + k, params) for k in range(each))


def digest(arrays):
    whole = b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)
    return hashlib.sha256(whole).hexdigest()[:16]


def hashes(folder):
    """Parameters, state and norm for every dtype and both ways of keeping the state, on every rank."""
    found = {}
    for dtype in ("float32", "float64"):
        for zero in (0, 1):
            params = model(RANK, dtype)  # rank 0's hold
            opt = gn.distributed(
                gn.Adam, params, comm=WORLD, zero=zero, lr=1e-2, max_norm=5.0, nonfinite="skip", timeout=60.0
            )
            train(opt, params, range(STEPS))
            state = opt.state_dict()["state"]
            arrays = [each[name] for each in state.values() for name in ("m", "v")]
            inside = opt.optimizer.state_dict()["state"].values()
            kept = sum(x.nbytes for each in inside for x in each.values() if isinstance(x, np.ndarray))
            found[f"{dtype} {zero}"] = [
                digest(params.values()), digest(arrays), float(opt.grad_norm).hex(), opt.t, opt.skipped, kept,
            ]  # fmt: skip
    return WORLD.allgather(found)


def refused(work):
    """The error of a call, as the test reads it."""
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def disagreements(folder):
    """Whatever rank 1 does otherwise: the errors on every rank, and whether anything changed."""

    def made(params, **options):
        hyper = {"lr": 1e-3, "comm": WORLD, "timeout": 60.0} | options
        return gn.distributed(gn.Adam, params, **hyper)

    odd = RANK == 1
    said = {}
    p = model(0)
    said["shape"] = refused(lambda: made(p | ({"b1": np.zeros(49, np.float32)} if odd else {})))
    said["order"] = refused(lambda: made(dict(reversed(p.items())) if odd else p))
    said["lr"] = refused(lambda: made(p, lr=2e-3 if odd else 1e-3))
    said["refused params"] = refused(lambda: made({"w": [1.0]} if odd else p))
    opt = made(p, nonfinite="skip")
    before = digest(p.values())
    g = gradients(0, 0, p)
    said["missing"] = refused(lambda: opt.step(g | ({"b1": None} if odd else {})))
    said["gradient"] = refused(lambda: opt.step(g | ({"b1": g["b1"][:-1]} if odd else {})))
    said["dtype"] = refused(lambda: opt.step(g | ({"b1": g["b1"].astype(np.float64)} if odd else {})))
    said["key"] = refused(lambda: opt.step({k: x for k, x in g.items() if k != "b1" or not odd}))
    said["count"] = refused(lambda: opt.step([g, g] if odd else [g]))
    said["scale"] = refused(lambda: opt.step(g, grad_scale=2.0 if odd else 1.0))
    said["call"] = refused(lambda: opt.state_dict() if odd else opt.step(g))
    if odd:
        opt.lr = 0.5
    said["rate"] = refused(lambda: opt.step(g))
    opt.lr = 1e-3
    if odd:
        opt.max_norm = 1.0
    said["limit"] = refused(lambda: opt.step(g))
    opt.max_norm = None
    other = made(model(0), nonfinite="skip")  # as the first one, to all appearance
    said["turn"] = refused(lambda: (other if odd else opt).step(g))
    said["one more"] = refused(lambda: made(model(0)) if odd else opt.step(g))
    said["unchanged"] = [digest(p.values()) == before, opt.t]
    bad = gradients(0, 0, p)
    if odd:
        bad["w1"][3, 3] = np.nan
    opt.step(bad)
    said["skipped"] = [digest(p.values()) == before, opt.t, opt.skipped]
    opt.nonfinite = "raise"
    said["raised"] = refused(lambda: opt.step(bad))
    opt.step(g | {"b1": None})  # on all ranks
    said["moved"] = [digest(p.values()) != before, opt.t]
    if odd:
        opt.optimizer._t += 1  # as if it had taken a step more
    said["steps"] = refused(lambda: opt.step(g))
    return WORLD.allgather(said)


def saves(path):
    """Three steps, a checkpoint, three more: the hash of the parameters then."""
    params = model(0)
    opt = gn.distributed(gn.Adam, params, comm=WORLD, lr=1e-2, max_norm=5.0, timeout=60.0)
    train(opt, params, range(3))
    gn.save_checkpoint(path, params, opt)
    train(opt, params, range(6, 9))
    return digest(params.values())


def loads(path):
    """Three more steps from the checkpoint."""
    params = model(1)
    opt = gn.distributed(gn.Adam, params, comm=WORLD, lr=1e-2, max_norm=5.0, timeout=60.0)
    gn.load_checkpoint(path, params, opt)
    train(opt, params, range(6, 9))
    return digest(params.values())


def dies(how):
    """One step, then rank 1 ends in a way, and rank 0 waits for it."""
    params = model(0)
    opt = gn.distributed(
        gn.Adam, params, comm=WORLD, lr=1e-3, timeout=1.5 if how in ("sleep", "less") else 60.0
    )
    opt.step(gradients(0, 0, params))
    if RANK == 1:
        match how:
            case "exception":
                raise RuntimeError("rank 1 fails")
            case "exit":
                sys.exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(1000)
            case "less":  # a step less than the others, and a regular end
                return None
    opt.step(gradients(1, 0, params))
    return "went on"


if __name__ == "__main__":
    parts = {"hashes": hashes, "disagreements": disagreements, "dies": dies, "saves": saves, "loads": loads}
    result = parts[sys.argv[1]](sys.argv[2])
    if RANK == 0:
        sys.stdout.write(json.dumps(result) + "\n")
