"""Python processes of their own.

An import of numba and its first compilation take most of a second, which few tests of a process are
about: where there is fork, processes are copies of one that has done both and has seen nothing of gnumba.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent


def run(*arguments, drop=(), fresh=False, timeout=120, **environment):
    """Run ``python arguments``: -c, -m or a script, with gnumba on its path and variables as given.

    ``fresh`` for what an import of numba or a hash seed has to do with. Variables of numba, which are
    read as it is imported, make a fresh process too.
    """
    arguments = [str(each) for each in arguments]
    given = {name: str(value) for name, value in environment.items()}
    path = [str(ROOT), given.pop("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]
    whole = {name: value for name, value in os.environ.items() if name not in drop} | given
    whole["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    if fresh or not hasattr(os, "fork") or any(name.startswith("NUMBA_") for name in given):
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=whole, capture_output=True, text=True, timeout=timeout)
    return copies().run(arguments, whole, timeout)


def output(*arguments, **how):
    """Run Python with warnings as errors, as `run` does, and return its output."""
    done = run("-W", "error", *arguments, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def copies():
    """The process to copy, started when the first copy is asked for."""
    return Copies()


class Copies:
    """A process that forks itself for every program that it is given."""

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([sys.executable, __file__], **pipes, text=True)
        atexit.register(self._process.communicate)

    def run(self, arguments, env, timeout):
        with tempfile.TemporaryDirectory() as folder:
            streams = [os.path.join(folder, name) for name in ("out", "err")]
            request = {"arguments": arguments, "env": env, "streams": streams, "timeout": timeout}
            self._process.stdin.write(json.dumps(request | {"cwd": os.getcwd()}) + "\n")
            self._process.stdin.flush()
            code = json.loads(self._process.stdout.readline())
            return subprocess.CompletedProcess(arguments, code, *(Path(path).read_text() for path in streams))


def serve():
    """Fork for every line of the input; what is left to do, in a copy."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            return request
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()
    sys.exit()


def become(arguments, env, streams, timeout, cwd):
    """Run a program in this process as if it had been started for it."""
    import runpy
    import signal
    import types
    import warnings

    signal.alarm(timeout)
    for stream, path in enumerate(["/dev/null", *streams]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    if arguments[0] == "-W":
        warnings.simplefilter(arguments[1])
        arguments = arguments[2:]
    is_option = arguments[0] in ("-c", "-m")
    sys.argv = arguments[is_option:]
    sys.path[:1] = ["" if is_option else str(Path(arguments[0]).parent), *env["PYTHONPATH"].split(os.pathsep)]
    if arguments[0] == "-m":
        return runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    if arguments[0] == "-c":
        sys.argv[0] = "-c"
        source, name, known = arguments[1], "<string>", {}
    else:
        source, name, known = Path(arguments[0]).read_bytes(), arguments[0], {"__file__": arguments[0]}
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(main).update(known)
    exec(compile(source, name, "exec"), vars(main))


def warm():
    """Let numba fill its registries."""
    import numba

    @numba.njit(error_model="numpy", nogil=True)
    def add(x):
        for i in numba.prange(x.size):
            x[i] += 1.0

    add.compile((numba.float64[::1],))


if __name__ == "__main__":
    warm()
    become(**serve())
