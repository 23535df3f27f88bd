"""Bodies as machine code for a GPU, which needs no GPU: numba-cuda makes LTO-IR, nvjitlink a cubin.

The only file that imports numba-cuda; it does so when a kernel is wanted. Never PTX: a driver older
than the compiler refuses it. Nothing is contracted (``-fma=0``): where a rule multiplies and adds it
rounds twice, as on the CPU, and where it says `fma` it rounds once.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from numba import types

from ..compile import cache
from ..grid import Body

ARITHMETIC = ("-fma=0", "-prec-div=1", "-prec-sqrt=1", "-ftz=0")
INSTALL = "pip install 'gnumba[cuda13]' (or 'gnumba[cuda12]', for drivers before 580)"
DISASSEMBLERS = "pip install 'gnumba[inspect]'"
PACKAGES = (
    *("numba-cuda", "cuda-bindings", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvrtc"),
    *("nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12", "nvidia-cuda-nvrtc-cu12"),
)
_LOCK = threading.RLock()


class CudaError(RuntimeError):
    """CUDA cannot be used here, or the driver refused a call."""


class Cubin(NamedTuple):
    """Machine code and the name of the kernel in it."""

    code: bytes
    symbol: str


@functools.cache
def missing() -> str:
    """Missing part of the compiler and how to install it; "" if the compiler is complete."""
    try:
        import numba_cuda  # noqa: F401
    except ImportError:
        return f"numba-cuda is not installed: {INSTALL}"
    try:
        from cuda.bindings import nvjitlink, nvvm

        nvvm.version()
        nvjitlink.version()
    except Exception as error:  # each library fails in a way of its own
        return f"a library of CUDA's compiler is missing ({error}): {INSTALL}"
    return ""


def compiler_major() -> int:
    """The major version of CUDA for whose drivers code is made."""
    from cuda.bindings import nvjitlink

    return int(nvjitlink.version()[0])


@functools.cache
def cubin(body: Body, arch: str) -> Cubin:
    """The body as machine code for an architecture such as "sm_90", from the disk or compiled now."""
    source, arguments = cache.fingerprint(body.source), str(body.arguments)
    path = cache.path_of(body.name, source, arguments, _options(arch), _versions())
    code = cache.read(path)
    if code is None:
        body.approve()
        code = _linked(_compiled(body, arch), arch)
        if path is not None:
            cache.write(path, code)
    return Cubin(code, _symbol(code))


@functools.cache
def arch_of(capability: tuple[int, int]) -> str:
    """The architecture to compile for of a compute capability: "sm_90" of (9, 0).

    Where the compiler does not know it, the next lower one of the same major version, whose code runs there.
    """
    major, minor = capability
    for lower in range(minor, -1, -1):
        if _is_known(f"sm_{major}{lower}"):
            return f"sm_{major}{lower}"
    capable = f"compute capability {major}.{minor}, which CUDA {compiler_major()}'s compiler"
    if not any(_is_known(f"sm_{later}0") for later in range(major + 1, 100)):
        raise CudaError(f"the GPU has {capable} does not know: pip install --upgrade 'gnumba[cuda13]'")
    raise CudaError(f"the GPU has {capable} makes no code for: pip install 'gnumba[cuda12]', back to 5.0")


@functools.cache
def _is_known(arch: str) -> bool:
    """Whether the linker makes code for an architecture."""
    from cuda.bindings import nvjitlink

    options = _options(arch)
    try:
        nvjitlink.destroy(nvjitlink.create(len(options), options))
    except nvjitlink.nvJitLinkError:
        return False
    return True


def report(body: Body, arch: str) -> dict[str, Any]:
    """PTX, SASS, registers a thread and bytes of stack: what there is to look at."""
    code = cubin(body, arch).code
    usage = disassembled(code, "-res-usage")
    return {
        "ptx": _linked(_compiled(body, arch), arch, "ptx").rstrip(b"\0").decode(),
        "sass": disassembled(code, "-sass"),
        "registers": max(map(int, re.findall(r"REG:(\d+)", usage))),
        "stack": max(map(int, re.findall(r"STACK:(\d+)", usage))),
    }


def _compiled(body: Body, arch: str) -> bytes:
    """The body as LTO-IR."""
    from numba import cuda

    major, minor = divmod(int(arch.removeprefix("sm_")), 10)
    with _LOCK, compiling_for((major, minor)):
        code, _ = cuda.compile(
            _kernel(body),
            types.void(*body.arguments),
            device=False,
            abi="numba",
            output="ltoir",
            cc=(major, minor),
        )
    return bytes(code)


def _kernel(body: Body) -> Any:
    """The body as a kernel: what it is told of blocks and threads is read off the GPU."""
    from numba import cuda

    names = ", ".join(f"a{k}" for k in range(len(body.arguments)))
    place = "int64(cuda.blockIdx.x), int64(cuda.gridDim.x), int64(cuda.threadIdx.x), int64(cuda.blockDim.x)"
    scope: dict[str, Any] = {"cuda": cuda, "int64": types.int64, "source": body.source}
    exec(f"def {body.name}({names}):\n    source({place}, {names})", scope)
    return scope[body.name]


@contextlib.contextmanager
def compiling_for(capability: tuple[int, int]) -> Iterator[None]:
    """Answer numba-cuda's question, in this thread, for which device to compile a kernel's callees.

    A GPU's context is not touched, and none is needed.
    """
    from numba.cuda import dispatcher

    class Device:
        compute_capability = capability

    asked, thread = dispatcher.get_current_device, threading.get_ident()
    dispatcher.get_current_device = lambda: Device if threading.get_ident() == thread else asked()
    try:
        yield
    finally:
        dispatcher.get_current_device = asked


def _options(arch: str) -> tuple[str, ...]:
    return f"-arch={arch}", "-lto", *ARITHMETIC


def _linked(ltoir: bytes, arch: str, output: str = "cubin") -> bytes:
    """A cubin, or the PTX from which the linker makes it under the same options.

    Not through cuda.core, whose ``fma=False`` becomes an option that libnvvm refuses.
    """
    from cuda.bindings import nvjitlink

    options = _options(arch) + (("-ptx",) if output == "ptx" else ())
    handle = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, ltoir, len(ltoir), "kernel")
        nvjitlink.complete(handle)
        code = bytearray(getattr(nvjitlink, f"get_linked_{output}_size")(handle))
        getattr(nvjitlink, f"get_linked_{output}")(handle, code)
    finally:
        nvjitlink.destroy(handle)
    return bytes(code)


def _symbol(code: bytes) -> str:
    """The kernel's name: that of its section of instructions."""
    found = re.search(rb"\.text\.([\w$]+)\0", code)
    if found is None:
        raise RuntimeError("the linked code has no kernel")
    return found[1].decode()


@functools.cache
def _versions() -> tuple[str, ...]:
    found = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return tuple(found)


def disassembled(code: bytes, option: str) -> str:
    tool = _tool("cuobjdump")
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "kernel.cubin"
        file.write_bytes(code)
        path = {"PATH": f"{Path(tool).parent}:{Path(_tool('nvdisasm')).parent}:/usr/bin:/bin"}
        done = subprocess.run([tool, option, str(file)], capture_output=True, text=True, check=True, env=path)
    return done.stdout + done.stderr


@functools.cache
def _tool(name: str) -> str:
    """Where a disassembler is: in its wheel, or on the path."""
    for package in (f"nvidia-cuda-{name}", f"nvidia-cuda-{name}-cu12"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for file in importlib.metadata.files(package) or ():
                if file.name == name:
                    return str(file.locate())
    if found := shutil.which(name):
        return found
    raise RuntimeError(f"{name}, which shows what the GPU runs, is not installed: {DISASSEMBLERS}")
