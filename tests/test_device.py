"""Kernels as machine code for GPUs, looked at without one."""

import collections
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import cases
import numpy as np
import pytest
from test_normed import trust

import gnumba as gn
from gnumba import losses
from gnumba._engine import grid, normed_grid, rowwise_grid, sums
from gnumba._engine.cuda import compiler as device
from gnumba._engine.cuda import driver
from gnumba._engine.storage import OF_DTYPE, alike
from gnumba._narrow import BFLOAT16, FLOAT16
from gnumba._optim.masters import kernel_for

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed (pip install 'gnumba[cuda13,inspect]')")

FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")
ARCHITECTURES = ("sm_75", "sm_80", "sm_90")
# A backward pass computes the derivative, and more.
FUNCTIONS = {name: made for name, made in cases.FUNCTIONS.items() if not name.endswith("_derivative")}


def in_turns(first, of_a_shape):
    """Parameters ``function`` and ``arch``, one in turn; for one of each kernel's shape these.

    What is computed, and in how many bytes at a time, is the same on all; registers are not.
    """
    turns = {name: [ARCHITECTURES[(first + k) % 3]] for k, name in enumerate(FUNCTIONS)}
    turns |= dict.fromkeys(cases.SHAPED, of_a_shape)
    return pytest.mark.parametrize(
        ("function", "arch"),
        [
            pytest.param(cases.FUNCTIONS[name], a, id=f"{name}-{a}")
            for name, archs in turns.items()
            for a in archs
        ],
    )


SUMS = (
    *(sums.squares, sums.strided_squares, sums.overflow, sums.strided_overflow),
    *(sums.total, sums.gathered, sums.along),
)
LINEAR = ("sgd", "heavy_ball", "nesterov", "momentum", "relu", "leaky_relu", "prelu")
DOUBLE = ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX", "MUFU.RCP64H", "MUFU.RSQ64H")


def used(body, arch):
    """Registers a thread, bytes of stack."""
    usage = device.disassembled(device.cubin(body, arch).code, "-res-usage")
    registers, stack = re.findall(r"REG:(\d+) STACK:(\d+)", usage)[-1]
    return int(registers), int(stack)


def shown(body, arch):
    """Counts of instructions, registers, stack."""
    sass = device.disassembled(device.cubin(body, arch).code, "-sass")
    found = re.findall(r"/\*[0-9a-f]{4,5}\*/\s+(?:@!?U?P\d+ )?([A-Z][A-Z0-9_.]*)", sass)
    return collections.Counter(found), *used(body, arch)


def kernel_of(function, dtype):
    """The kernel that runs over dense arrays."""
    if not function.scaled:
        return grid.flat(function, alike(function, dtype))
    return grid.sweep(function, alike(function, dtype))


def computed_in_double(counts):
    return {name: n for name, n in counts.items() if name.startswith(DOUBLE)}


@in_turns(0, ARCHITECTURES)
def test_steps_and_activations_are_as_they_should_be(function, arch):
    """16 bytes at a time, nothing in float64, nothing spilled."""
    counts, registers, stack = shown(kernel_of(function, FLOAT32), arch)
    assert any(name.startswith("LDG.E.128") for name in counts)
    assert any(name.startswith("STG.E.128") for name in counts)
    assert computed_in_double(counts) == {}
    assert stack == 0
    assert registers < 96


@pytest.mark.parametrize("storage", [FLOAT16, BFLOAT16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_steps_on_masters(storage, arch):
    """8 bytes at a time of what is kept in 16 bits, converted by single instructions where they have one."""
    counts, registers, stack = shown(grid.sweep(*kernel_for(gn.rules.adam._kernel, storage)), arch)
    assert any(name.startswith("LDG.E.128") for name in counts)
    assert any(name.startswith("LDG.E.64") for name in counts)
    assert any(name.startswith("STG.E.64") for name in counts)
    assert computed_in_double(counts) == {}
    assert stack == 0
    assert registers < 96


@in_turns(1, ["sm_90"])
def test_float64_kernels_spill_nothing(function, arch):
    registers, stack = used(kernel_of(function, FLOAT64), arch)
    assert stack == 0
    assert registers <= 128


@pytest.mark.parametrize("function", cases.SHAPED.values(), ids=cases.SHAPED.keys())
def test_float64_kernels_take_16_bytes_at_a_time(function):
    counts, _, _ = shown(kernel_of(function, FLOAT64), "sm_90")
    assert any(name.startswith("LDG.E.128") for name in counts)
    assert any(name.startswith("STG.E.128") for name in counts)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.partition("-")[0] in LINEAR])
def test_nothing_is_contracted(name):
    """A rule's products and sums are rounded separately, as on a CPU."""
    function = cases.FUNCTIONS[name]
    counts, _, _ = shown(grid.sweep(function, alike(function, FLOAT32)), "sm_75")
    assert not any(each.startswith("FFMA") for each in counts)
    counts, _, _ = shown(grid.sweep(function, alike(function, FLOAT64)), "sm_75")
    assert not any(each.startswith("DFMA") for each in counts)


def test_an_fma_is_one():
    @gn.rule
    def fused(p, g, /, lr):
        "p − lr·g, rounded once."
        return gn.elementary.fma(-lr, g, p)

    counts, _, _ = shown(grid.sweep(fused._kernel, alike(fused._kernel, FLOAT32)), "sm_90")
    assert any(each.startswith("FFMA") for each in counts)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(make(OF_DTYPE[dtype]), id=f"{make.__name__}-{dtype}")
        for make in SUMS
        for dtype in (FLOAT32, FLOAT64)
    ]
    + [pytest.param(sums.quotients(OF_DTYPE[FLOAT64], OF_DTYPE[FLOAT32]), id="quotients")]
    + [pytest.param(rowwise_grid.label_weights(), id="label_weights")]
    + [pytest.param(sums.summed(gn.prelu._summed, alike(gn.prelu._summed, FLOAT32)), id="summed")]
    + [pytest.param(grid.walk(gn.rules.adam._kernel, alike(gn.rules.adam._kernel, FLOAT32)), id="walk")]
    + [
        pytest.param(make(trust._kernel, alike(trust._kernel, dtype)), id=f"{make.__name__}-of-norms-{dtype}")
        for make in dict.fromkeys((*normed_grid.BODIES, *normed_grid.BODIES_WITH_GAPS))
        for dtype in (FLOAT32, FLOAT64)
    ],
)
def test_sums_and_walks_spill_nothing(body):
    registers, stack = used(body, "sm_90")
    assert stack == 0
    assert registers <= 128


ALONG = {
    **{"softmax": gn.softmax._forward, "softmax_backward": gn.softmax._backward},
    **{"log_softmax": gn.log_softmax._forward, "log_softmax_backward": gn.log_softmax._backward},
    **{"hard": losses.HARD, "soft": losses.SOFT},
}
BODIES_ALONG = rowwise_grid.tiles, *rowwise_grid.BODIES_OF_BLOCKS


@pytest.mark.parametrize("make", BODIES_ALONG, ids=lambda make: make.__name__)
@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90"])
@pytest.mark.parametrize("name", ALONG)
def test_functions_along_an_axis_are_as_they_should_be(name, arch, make):
    """Nothing is spilled, and as many threads have room on a processor as of steps."""
    _, registers, stack = shown(make(ALONG[name], FLOAT32), arch)
    assert stack == 0
    assert registers < 96


@pytest.mark.parametrize("make", BODIES_ALONG, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ALONG)
def test_float64_functions_along_an_axis_spill_nothing(name, make):
    _, registers, stack = shown(make(ALONG[name], FLOAT64), "sm_90")
    assert stack == 0
    assert registers <= 128


@pytest.mark.parametrize(
    "body",
    [sums.squares(OF_DTYPE[FLOAT32]), sums.strided_squares(OF_DTYPE[FLOAT64]), sums.total(OF_DTYPE[FLOAT32])],
)
def test_blocks_of_a_sum_wait_for_one_another(body):
    """The ticket is an atomic addition with a fence on either side: release and acquire."""
    sass = device.disassembled(device.cubin(body, "sm_90").code, "-sass")
    order = re.findall(r"\b(MEMBAR|ATOM|BAR\.SYNC)", sass)
    k = order.index("ATOM")
    assert "MEMBAR" in order[:k]
    assert order[k + 1 : k + 3] == ["MEMBAR", "BAR.SYNC"]
    assert order.count("ATOM") == 1


def test_inspect():
    made = gn.inspect(gn.Adam(np.zeros(1)).rule, target="cuda", cc=(8, 0))
    assert set(made) == {"ptx", "sass", "registers", "stack"}
    assert "sm_80" in made["ptx"]
    assert "LDG.E.128" in made["sass"]
    assert 0 < made["registers"] < 96
    assert made["stack"] == 0
    assert "STG.E.128" in gn.inspect(gn.sigmoid, "cuda", "float64")["sass"]


def test_the_ptx_shown_is_that_of_the_kernel():
    """Linked as the cubin is: nothing contracted, as its instructions have it."""
    made = gn.inspect(gn.rules.heavy_ball, "cuda")
    assert re.search(r"FFMA|DFMA", made["sass"]) is None
    assert "fma" not in made["ptx"]
    assert "mul.rn.f32" in made["ptx"]
    assert "fma.rn.f32" in gn.inspect(gn.tanh, "cuda")["ptx"]


def test_a_gpu_that_the_compiler_does_not_know():
    """Code for the next lower compute capability of the same major version; none across these."""
    assert device.arch_of((9, 0)) == "sm_90"
    assert device.arch_of((9, 9)) == "sm_90"
    assert device.arch_of((8, 8)) in ("sm_87", "sm_88")
    assert gn.inspect(gn.relu, "cuda", cc=(9, 7))["registers"]
    with pytest.raises(
        RuntimeError, match=r"capability 99\.0, which .* does not know: pip install --upgrade"
    ):
        gn.inspect(gn.relu, "cuda", cc=(99, 0))
    with pytest.raises(RuntimeError, match=r"capability 3\.5, which .* makes no code for: pip install"):
        gn.inspect(gn.relu, "cuda", cc=(3, 5))


def test_two_threads_compile():
    """While one compiles, numba-cuda's answers to another are not changed."""
    from numba.cuda import dispatcher

    before, heard = dispatcher.get_current_device, []
    dispatcher.get_current_device = lambda: "the device"
    try:
        with device.compiling_for((9, 0)):
            other = threading.Thread(target=lambda: heard.append(dispatcher.get_current_device()))
            other.start()
            other.join()
            heard.append(dispatcher.get_current_device().compute_capability)
        heard.append(dispatcher.get_current_device())
    finally:
        dispatcher.get_current_device = before
    assert heard == ["the device", (9, 0), "the device"]


def test_a_rule_that_widens_is_refused():
    @gn.rule
    def widening_on_a_gpu(p, g, /, lr):
        "In float64 for float32."
        return p - lr * (2 * g)

    with pytest.raises(TypeError, match="would compute in float64"):
        gn.inspect(widening_on_a_gpu, target="cuda")


def test_machine_code_is_kept_on_the_disk(tmp_path):
    """A second process compiles nothing; another architecture is another file."""
    code = """
import sys, gnumba as gn
from gnumba._engine.cuda import compiler as device
if sys.argv[2] == "kept":
    device._compiled = None
gn.precompile(gn.sigmoid, target="cuda")
import numpy as np
from gnumba._engine import grid, storage
body = grid.sweep(gn.rules.sgd._kernel, storage.alike(gn.rules.sgd._kernel, np.dtype("float32")))
device.cubin(body, sys.argv[1])
"""
    environment = os.environ | {
        "GNUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(gn.__file__).parents[1]),
    }

    def run(*arguments):
        subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True)
        return len(list(tmp_path.iterdir()))

    assert run("sm_90", "new") == 5  # sigmoid forward, derivative, backward, backward from y; sgd
    assert run("sm_90", "kept") == 5
    assert run("sm_80", "new") == 6


def test_ufuncs_for_cuda(monkeypatch):
    """They compile, for float32 and float64; numba looks at the GPU's kind only."""
    monkeypatch.setattr(driver, "_current", [object()])
    with device.compiling_for((9, 0)):
        made = [gn.silu.ufunc("cuda"), *gn.rules.adam.ufuncs("cuda")]
    for each in made:
        assert [np.dtype(kinds[0]) for kinds in each.functions] == [FLOAT32, FLOAT64]
    assert gn.rules.adam.ufuncs("cuda").v is made[-1]
