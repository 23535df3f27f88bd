"""Where gnumba finds itself: one CPU, a container's quota, no home, no compiler, a disk."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from processes import run

import gnumba as gn
from gnumba import __main__ as command
from gnumba import _info
from gnumba._engine import host, threads
from gnumba._engine.compile import cache

HAS_MASK = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")


def on_one_cpu(code):
    """Code that is confined to one CPU before anything else."""
    return f"import os\nos.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})\n{code}"


WORK = """
import os, threading
import numba, numpy as np, gnumba as gn
def work():
    p = np.ones(10)
    gn.relu(p)
    gn.relu(np.ones((4, 4))[::2, ::2])
    gn.prelu.backward(p, p, 0.5)
    gn.Adam(p, max_norm=1.0).step(2 * p)
    gn.dropout(p, 0.5, 1)
def in_a_thread_and_after_a_fork():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
def started():
    try:
        return numba.threading_layer()
    except ValueError:
        return None
"""


@HAS_MASK
@pytest.mark.parametrize("target", ["", "cpu", "parallel"])
def test_one_cpu(target):
    """Nothing starts a pool of threads, whatever is asked for, and work in a thread or a fork ends."""
    body = "in_a_thread_and_after_a_fork()"
    if target:  # use_target is a thread's own
        body = f"""
plain = work
def work():
    with gn.use_target({target!r}):
        plain()
        gn.relu(np.ones(10**6))
{body}"""
    shown = "print(started(), gn.info()['threads'], gn.info()['threading_layer'])"
    done = run("-c", on_one_cpu(f"{WORK}{body}\n{shown}"), fresh=True)
    assert done.stdout == "None 1 none: one thread\n", done.stderr


def test_small_work_starts_no_threads():
    """On many CPUs neither."""
    done = run("-c", WORK + "work(); print(started())", NUMBA_NUM_THREADS=2)
    assert done.stdout == "None\n", done.stderr


V1, V2 = "4:cpu,cpuacct:/docker/x\n1:name=systemd:/x\n", "0::/a/b\n"
GROUPS = {
    "version 2": (V2, {"a/b/cpu.max": "150000 100000\n"}, 1.5),
    "a group around it": (V2, {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.0),
    "a container's root": (V2, {"cpu.max": "200000 100000\n"}, 2.0),
    "version 1": (
        V1,
        {"cpu/docker/x/cpu.cfs_quota_us": "50000", "cpu/docker/x/cpu.cfs_period_us": "100000"},
        0.5,
    ),
    "none": (V2, {"a/b/cpu.max": "max 100000\n"}, np.inf),
    "version 1, none": (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, np.inf),
    "unheard of": (V2, {"a/b/cpu.max": "plenty\n"}, np.inf),
    "no groups": (None, {}, np.inf),
}


@pytest.mark.parametrize(("groups", "files", "expected"), GROUPS.values(), ids=GROUPS)
def test_quota(groups, files, expected, tmp_path):
    """The least of a control group's and of those around it."""
    listed = tmp_path / "cgroup"
    if groups:
        listed.write_text(groups)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert threads.quota(listed, tmp_path / "fs") == expected


@pytest.mark.parametrize(("quota", "count"), [(0.5, 1), (1.0, 1), (1.5, 2), (np.inf, 4)])
def test_threads_by_quota(quota, count, monkeypatch):
    """Rounded up; one means no thread but the caller's."""
    threads.cpus.cache_clear()
    monkeypatch.setattr(threads, "quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    assert threads.cpus() == count
    threads.cpus.cache_clear()


# The compiler.


def test_no_compiler():
    """One sentence says what to do, whatever is called first."""
    code = """
import numpy as np, gnumba as gn
x = np.ones(3)
for use in (
    lambda: gn.relu(x), lambda: gn.relu(x[::2]), lambda: gn.Adam(x).step(x), lambda: gn.global_norm([x]),
    lambda: gn.relu.ufunc(), lambda: gn.rules.sgd.ufuncs(), lambda: gn.inspect(gn.relu),
    lambda: gn.precompile(gn.relu), lambda: gn.dropout(x, 0.5, 1),
):
    try:
        use()
    except RuntimeError as error:
        assert "NUMBA_DISABLE_JIT=1" in str(error) and "unset" in str(error)
    else:
        raise AssertionError
print(x.tolist())
"""
    done = run("-c", code, NUMBA_DISABLE_JIT=1)
    assert done.stdout == "[1.0, 1.0, 1.0]\n", done.stderr


# Folders.

SHOW = "import gnumba as gn, numpy as np; gn.relu(np.ones(3)); print(gn.info()['cache_folder'])"


@pytest.mark.skipif(os.name != "posix", reason="homes are looked up otherwise here")
def test_a_user_without_home_or_name(tmp_path):
    """Kernels go to a private folder among the temporary files."""
    code = f"""
import pwd
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid
{SHOW}"""
    drop = ("HOME", "XDG_CACHE_HOME", "GNUMBA_CACHE_DIR")
    done = run("-c", code, drop=drop, TMPDIR=tmp_path)
    folder = tmp_path / f"gnumba-{os.getuid()}"
    assert Path(done.stdout.strip()) == folder, done.stderr
    assert list(folder.glob("relu*.kernel"))
    assert folder.stat().st_mode & 0o077 == 0


def test_the_users_cache_comes_before_the_code(tmp_path):
    """The user's folder is preferred: a cache beside the code would outlive an uninstallation."""
    done = run("-c", SHOW, drop=("GNUMBA_CACHE_DIR",), XDG_CACHE_HOME=tmp_path)
    assert Path(done.stdout.strip()) == tmp_path / "gnumba", done.stderr
    assert "Warning" not in done.stderr


def test_a_chosen_folder_that_is_of_no_use(tmp_path):
    """It is named with the reason, once, and others are used."""
    (tmp_path / "file").write_text("")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for chosen, reason in ((tmp_path / "file" / "x", "Not a directory"), (tmp_path / "open", "others")):
        done = run("-c", SHOW, GNUMBA_CACHE_DIR=chosen, XDG_CACHE_HOME=tmp_path)
        assert done.stderr.count("RuntimeWarning") == 1
        assert str(chosen) in done.stderr
        assert reason in done.stderr
        assert Path(done.stdout.strip()) == tmp_path / "gnumba"


def test_old_and_many_kernels_go(tmp_path, monkeypatch):
    """Those unread for long, then the longest unread until the rest is small enough; nothing else."""
    monkeypatch.setattr(cache, "LARGEST", 250)
    now = time.time()
    for name, age in (("a", 100), ("b", 3), ("c", 2), ("d", 1)):
        path = tmp_path / f"{name}.kernel"
        path.write_bytes(b"x" * 100)
        os.utime(path, (now - age * 86400,) * 2)
    (tmp_path / "notes.txt").write_text("mine")
    os.utime(tmp_path / "notes.txt", (0, 0))
    cache.write(tmp_path / "new.kernel", b"y")
    assert {path.name for path in tmp_path.iterdir()} == {"c.kernel", "d.kernel", "new.kernel", "notes.txt"}


# Ahead of time.


@pytest.mark.parametrize("act", [gn.relu, gn.sigmoid, gn.prelu], ids=lambda act: act.name)
def test_precompiled_is_what_runs(act, monkeypatch):
    """Forward, derivative and backward make no further kernel."""
    gn.precompile(act, target="cpu")
    made = host.flat.cache_info().misses
    x = np.linspace(-1.0, 1.0, 9, dtype=np.float32)
    slope = (0.25,) if act is gn.prelu else ()
    act(x, *slope), act.derivative(x, *slope), act.backward(x, x, *slope)
    assert host.flat.cache_info().misses == made


def test_precompile_takes_no_kernel_twice():
    """For an optimizer its sweeps and what binds gradients."""
    assert len(_info.kernels(gn.Adam(np.ones(3)), target="cpu")) == 2


def test_a_strided_call_makes_one_kernel():
    """Of an activation of one's own, which nothing has made before."""

    @gn.activation(derivative=lambda x: 3.0 * x * x)
    def cube(x):
        return x * x * x

    before = [make.cache_info().misses for make in (host.flat, host.sweep, host.walk)]
    assert (cube(np.arange(8.0)[::2]) == np.arange(0.0, 8.0, 2.0) ** 3).all()
    after = [make.cache_info().misses for make in (host.flat, host.sweep, host.walk)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [0, 0, 1]


def test_inspect_shows_what_runs():
    """An activation's dense kernel, a rule's sweep."""
    assert "_flat" in gn.inspect(gn.relu)["llvm"]
    assert "_sweep" in gn.inspect(gn.rules.sgd)["llvm"]


def test_the_precompile_command(tmp_path, capsys, monkeypatch):
    """It says what it made and where, and makes nothing twice."""
    monkeypatch.setenv("GNUMBA_CACHE_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    arguments = ["precompile", "--only", "relu", "sgd", "--dtype", "float32", "--target", "cpu"]
    assert command.main(arguments) == 0
    assert str(tmp_path) in capsys.readouterr().out
    made = {path.name.rpartition("-")[0] for path in tmp_path.glob("*.kernel")}
    expected = {"relu_flat_cpu", "relu_derivative_flat_cpu", "relu_derivative_backward_flat_cpu"}
    assert made == expected | {"sgd_sweep_cpu", "_bind"}
    assert command.main(arguments) == 0
    assert capsys.readouterr().out.startswith("0 kernels made")
