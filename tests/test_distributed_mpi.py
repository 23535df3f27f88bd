"""gn.distributed on ranks that MPI starts: the bits, what ranks hear of one another, how jobs end."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, TESTS

EXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="there is no mpi4py"),
    pytest.mark.skipif(EXEC is None, reason="there is no mpiexec"),
]
ENVIRONMENT = {
    "NUMBA_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # of cores, for Open MPI
}


def run(ranks, *arguments, timeout=120):
    """``mpiexec -n ranks python -m mpi4py arguments``: its exit status, output and errors."""
    command = [EXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py", *map(str, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        timeout=timeout,
        errors="replace",
        text=True,
    )


def told(ranks, part, argument=""):
    """Result of a part of mpi_program.py on rank 0."""
    done = run(ranks, TESTS / "mpi_program.py", part, argument)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def one_process():
    return told(1, "hashes")[0]


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_bits_of_one_process(ranks, one_process):
    """Parameters, state, norm: both dtypes, states whole and in parts, with clipping and a skipped step."""
    found = told(ranks, "hashes")
    assert len(found) == ranks
    for each in found:
        assert {k: x[:-1] for k, x in each.items()} == {k: x[:-1] for k, x in one_process.items()}
    for name, (*_, norm, t, skipped, whole) in one_process.items():
        dtype, zero = name.split()
        assert (t, skipped) == (5, 1)
        assert float.fromhex(norm) > 5.0  # clipping is active
        kept = [each[name][-1] for each in found]
        if zero == "0":
            assert set(kept) == {whole}
        else:
            assert sum(kept) == whole
            assert max(kept) <= whole / ranks + 2 * 4096 * int(dtype.removeprefix("float")) // 8
    assert one_process["float32 0"][:4] == one_process["float32 1"][:4]
    assert one_process["float32 0"][0] != one_process["float64 0"][0]


HEARD = {
    "shape": "ValueError: the parameters differ between ranks: "
    "rank 0 has ['b1', [50], 'float32'], rank 1 has ['b1', [49], 'float32']",
    "order": "ValueError: the parameters differ between ranks: "
    "rank 0 has ['w0', [64, 96], 'float32'], rank 1 has ['w2', [50, 10], 'float32']",
    "missing": "ValueError: the parameters without a gradient differ between ranks: "
    "rank 0 has nothing more, rank 1 has b1",
    "count": "ValueError: the micro-batches of a step differ between ranks: rank 0 has 1, rank 1 has 2",
    "scale": "ValueError: values of grad_scale differ between ranks: rank 0 has 1.0, rank 1 has 2.0",
    "call": "ValueError: the calls differ between ranks: rank 0 has step, rank 1 has state_dict",
    "turn": "ValueError: the calls differ between ranks: rank 0 has optimizer 1, rank 1 has optimizer 2",
    "one more": "ValueError: the calls differ between ranks: "
    "rank 0 has optimizer 1, rank 1 has a new optimizer",
    "rate": "ValueError: the hyperparameters differ between ranks: "
    "rank 0 has ['lr', 0.001], rank 1 has ['lr', 0.5]",
    "limit": "ValueError: values of max_norm differ between ranks: rank 0 has None, rank 1 has 1.0",
    "raised": "FloatingPointError: gradient of w1 holds inf or nan, expected finite numbers",
    "steps": "ValueError: the steps taken differ between ranks: rank 0 has 1, rank 1 has 2",
    "unchanged": [True, 0],
    "skipped": [True, 0, 1],
    "moved": [True, 1],
}
OWN = {
    "refused params": "TypeError: parameter w/0 is of type float",
    "gradient": "ValueError: gradient of b1 has shape (49,), expected its parameter's, (50,)",
    "dtype": "TypeError: gradient of b1 has dtype float64, expected its parameter's, float32",
    "key": "ValueError: grads has unknown names [] and lacks ['b1']",
}


def test_disagreements():
    """Whatever rank 1 does otherwise, every rank hears of it, and nothing has changed."""
    first, second = told(2, "disagreements")
    assert first.keys() == second.keys() == HEARD.keys() | OWN.keys() | {"lr"}
    for name, said in HEARD.items():
        assert first[name] == second[name] == said
    for name, said in OWN.items():
        assert second[name].startswith(said)
        what = "its parameters or options" if name == "refused params" else "its gradients"
        assert first[name] == f"RankError: rank 1 refused {what}: {second[name]}"
    assert first["lr"] == second["lr"]
    assert first["lr"].startswith("ValueError: the optimizers differ between ranks: rank 0 has group 0")
    assert "lr=0.001" in first["lr"].partition("rank 1")[0]
    assert "lr=0.002" in first["lr"].partition("rank 1")[2]


@pytest.mark.parametrize(
    ("how", "codes"),
    [
        ("exception", [1]),
        ("exit", [3]),
        ("kill", [9, 137]),  # MPICH's and Open MPI's words for it
        ("sleep", [70]),
        ("less", [70]),
    ],
)
def test_a_rank_that_dies_or_hangs(how, codes):
    """The job ends, whatever the others wait for."""
    done = run(2, TESTS / "mpi_program.py", "dies", how)
    assert done.returncode in codes, done.stderr
    assert "went on" not in done.stdout
    if codes == [70]:
        assert "gnumba: rank 0 of 2 had no answer for 1.5 s and ends the job" in done.stderr


def test_a_checkpoint_of_two_ranks_goes_on_with_four(tmp_path):
    """To the same bits."""
    assert told(2, "saves", tmp_path / "run") == told(4, "loads", tmp_path / "run")


def test_the_example():
    """Its hash is that of one process, which needs no MPI."""
    pytest.importorskip("sklearn")
    example = ROOT / "examples" / "distributed_digits.py"
    env = {**os.environ, **ENVIRONMENT}
    alone = subprocess.run(
        [sys.executable, example, "--epochs", "2"], env=env, capture_output=True, text=True
    )
    four = run(4, example, "--epochs", "2")
    assert alone.stdout, alone.stderr
    assert alone.stdout.replace("1 rank", "4 ranks") == four.stdout, four.stderr
    assert float(re.search(r"test accuracy (\S+)", four.stdout)[1]) > 0.9


def test_an_import_without_mpi(tmp_path):
    """comm=None in a process that no MPI has started; import gnumba alone starts no MPI."""
    code = """
import sys
import numpy as np
import gnumba as gn
assert "mpi4py" not in sys.modules
try:
    gn.distributed(gn.SGD, np.zeros(3))
except ValueError as error:
    print(error)
from mpi4py import MPI
gn.distributed(gn.SGD, np.zeros(3), comm=MPI.COMM_WORLD)
try:
    gn.distributed(gn.SGD, np.zeros(3), comm=MPI.COMM_NULL)
except ValueError as error:
    print(error)
"""
    dropped = ("PMI_", "PMIX_", "OMPI_COMM")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env | ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    first, second = done.stdout.splitlines() or [done.stderr, ""]
    assert first.startswith(
        "comm is None and no MPI has started this process: start it as 'mpiexec -n 4 python -m"
    )
    assert "expected an intracommunicator" in second
