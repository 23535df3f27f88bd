"""Files written whole or not at all: full disks, kills, other writers, modes and links."""

import errno
import json
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import gnumba as gn
from gnumba._io import atomic
from gnumba._io.atomic import write_whole

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes, links, limits and locks as POSIX has them")
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks after importing NumPy")
ROOT = Path(gn.__file__).parents[1]


@pytest.fixture
def path(tmp_path):
    """A file in a folder of its own."""
    made = tmp_path / "file"
    made.write_bytes(b"old")
    return made


def alone(path):
    """Whether nothing else lies beside it."""
    return list(path.parent.iterdir()) == [path]


def python(script, *arguments):
    """Run a script and parse its output as JSON."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_any_kind_of_path(kind, path):
    """New content, in one piece and in many."""
    for content in ([b"new"], [b"", memoryview(b"ne"), b"w"] * 2, []):
        write_whole(kind(path), content)
        assert path.read_bytes() == b"".join(content)
    assert alone(path)


def test_a_name_in_the_working_folder(path, monkeypatch):
    """Without a folder before it."""
    monkeypatch.chdir(path.parent)
    write_whole("another", [b"new"])
    assert (path.parent / "another").read_bytes() == b"new"


# What fails leaves the file as it was.


def pieces(error):
    """Some of the content, then an error."""
    yield b"n" * 100_000
    raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("?")], ids=repr
)
def test_an_error_while_writing(error, path):
    """Is raised, says that the file is as it was, and leaves nothing behind."""
    with pytest.raises(type(error)) as caught:
        write_whole(path, pieces(error))
    assert caught.value.__notes__ == [f"{path} is as it was before"]
    assert path.read_bytes() == b"old"
    assert alone(path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_of_the_system(call, path, monkeypatch):
    """A checkpoint that fails raises the error, leaves the old file whole and no other behind."""

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    params = {"w": np.arange(1000.0)}
    optimizer = gn.Adam(params)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left") as caught:
            gn.save_checkpoint(path, params, optimizer)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert alone(path)
    gn.save_checkpoint(path, params, optimizer)
    gn.load_checkpoint(path, params, optimizer)


FULL = """
import json, os, resource, sys
import numpy as np, gnumba as gn
path, params = sys.argv[1], {"w": np.zeros(100_000)}
optimizer = gn.Adam(params)
gn.save_checkpoint(path, {"w": np.ones(10)}, gn.Adam({"w": np.ones(10)}))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
try:
    gn.save_checkpoint(path, params, optimizer)
    found = 0
except OSError as error:
    found = error.errno
w = np.zeros(10)
gn.load_checkpoint(path, {"w": w}, gn.Adam({"w": np.ones(10)}))
json.dump([found, w.tolist(), os.listdir(os.path.dirname(path))], sys.stdout)
"""


@POSIX
def test_more_than_the_system_lets_it_write(path):
    """A limit on the size of files, met in the middle of the data."""
    assert python(FULL, path) == [errno.EFBIG, [1.0] * 10, [path.name]]


def test_where_nothing_can_be_written(path):
    """No folder, a folder, a file as a folder."""
    for wrong in (path.parent / "none" / "file", path.parent, path / "file"):
        with pytest.raises(OSError, match=re.escape(str(path.parent))):
            write_whole(wrong, [b"new"])
    assert path.read_bytes() == b"old"
    assert alone(path)


@POSIX
@pytest.mark.parametrize("length", [100, 101, 200, 234, 235, 254, 255])
def test_names_as_long_as_there_are(length, tmp_path):
    """Of 255 bytes; what killed writers left is found for these too, and only for these."""
    path = tmp_path / ("é" * (length // 2) + "x" * (length % 2))
    write_whole(path, [b"old"])
    prefix = atomic._prefix(path.name)
    left, other = tmp_path / f"{prefix}0123456789abcdef.tmp", tmp_path / f"{prefix}x.tmp"
    left.write_bytes(b"half")
    other.write_bytes(b"")
    write_whole(path, [b"new"])
    assert path.read_bytes() == b"new"
    assert set(tmp_path.iterdir()) == {path, other}


def test_a_folder_that_is_not_there(tmp_path, monkeypatch):
    """Is what the error says, with the path that was given."""
    monkeypatch.chdir(tmp_path)
    for given in ("none/run.safetensors", str(tmp_path / "none" / "run.safetensors")):
        with pytest.raises(FileNotFoundError, match="folder does not exist") as caught:
            gn.save_checkpoint(given, np.zeros(2))
        assert caught.value.filename == given
        assert ".tmp" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@POSIX
def test_what_is_no_file():
    """A device is not replaced by a file."""
    with pytest.raises(OSError, match="regular"):
        write_whole("/dev/null", [b"new"])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


# On the disk, in that order.


def events(monkeypatch):
    """Each fsync and each renaming, as they happen."""
    found, fsync, replace = [], os.fsync, os.replace

    def watched(handle):
        found.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else os.fstat(handle).st_size)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "replace", lambda *names: (found.append("replace"), replace(*names)))
    return found


@POSIX
def test_on_the_disk_before_it_takes_the_name(path, monkeypatch):
    """All bytes, then the name, then the folder."""
    found = events(monkeypatch)
    write_whole(path, [b"new", b"er"])
    assert found == [5, "replace", "folder"]


@POSIX
def test_a_folder_that_cannot_be_synchronized(path, monkeypatch):
    """Some file systems cannot; the file is in its place by then."""
    fsync = os.fsync

    def picky(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not here")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", picky)
    write_whole(path, [b"new"])
    assert path.read_bytes() == b"new"


# Modes and links.


@POSIX
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077, 0], ids=oct)
def test_a_new_file_follows_the_umask(mask, path):
    """As one that is opened for writing does."""
    before = os.umask(mask)
    try:
        write_whole(path.with_name("new"), [b"new"])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.with_name("new").stat().st_mode) == 0o666 & ~mask


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o440, 0o755], ids=oct)
def test_a_file_keeps_its_mode(mode, path):
    """Also while it is written: nobody reads there who may not read here."""
    path.chmod(mode)
    seen = []

    def watched():
        yield b"new"
        seen.extend(stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir())

    write_whole(path, watched())
    assert seen == [mode, mode]
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


@POSIX
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_a_link_is_written_through(there, path):
    """It stays a link; the file it leads to is written in its own folder."""
    folder = path.parent / "folder"
    folder.mkdir()
    target, link = folder / "target", path.parent / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to(Path("folder") / "target")
    write_whole(link, [b"new"])
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert alone(target)


# Killed writers, and living ones.


@POSIX
@pytest.mark.parametrize("name", ["file", "run[1]*?.safetensors", "é ~ 重み", "-.tmp"])
def test_what_a_killed_writer_left(name, tmp_path):
    """Is removed by the next; what has another name is not."""
    token = "0123456789abcdef"
    left = {f".{name}.{token}.tmp", f".{name}.{token[::-1]}.tmp"}
    others = {
        f".other.{token}.tmp",
        f".{name}.tmp",
        f".{name}.x.tmp",
        f"{name}.{token}.tmp",
        f".{name}.{token}",
    }
    for each in left | others:
        (tmp_path / each).write_bytes(b"half")
    write_whole(tmp_path / name, [b"new"])
    assert {each.name for each in tmp_path.iterdir()} == others | {name}


@POSIX
def test_a_living_writer_keeps_its_file(path):
    """Whoever writes in between; the last to finish wins."""

    def meanwhile():
        yield b"first"
        (own,) = set(path.parent.iterdir()) - {path}
        write_whole(path, [b"second"])
        assert path.read_bytes() == b"second"
        assert own.exists()

    write_whole(path, meanwhile())
    assert path.read_bytes() == b"first"
    assert alone(path)


@POSIX
def test_a_writer_taken_for_dead_starts_anew(path, monkeypatch):
    """Another looked before its file was marked as in use."""
    import fcntl

    flock, lost = fcntl.flock, []

    def late(handle, how):
        if not lost:
            lost.extend(set(path.parent.iterdir()) - {path})
            lost[0].unlink()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(path, [b"new"])
    assert len(lost) == 1
    assert path.read_bytes() == b"new"
    assert alone(path)


@POSIX
def test_many_writers(path):
    """Every reader finds one of their files, whole."""
    contents = [bytes([65 + k]) * 50_000 for k in range(4)]
    errors = []

    def write(content):
        try:
            for _ in range(25):
                write_whole(path, [content[:7], content[7:]])
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert path.read_bytes() in [b"old", *contents]
    assert not errors
    assert alone(path)


KILLED = """
import itertools, json, os, random, signal, sys, time
import numpy as np, gnumba as gn, safetensors.numpy

path, kills = sys.argv[1], int(sys.argv[2])
draw = random.Random(0)

class Carrier:
    def state_dict(self):
        return self.state
    def load_state_dict(self, state):
        self.state = state

def save(k):
    carrier = Carrier()
    carrier.state = {"t": k, "v": np.full(100_000, k, np.float32)}
    gn.save_checkpoint(path, {"w": np.full(100_000, k, np.float64)}, carrier, extra=k)

def load():
    w, carrier = np.zeros(100_000), Carrier()
    k = gn.load_checkpoint(path, {"w": w}, carrier)
    assert carrier.state["t"] == k and (w == k).all() and (carrier.state["v"] == k).all()
    return k

save(0)
left, saved = 0, 0
for _ in range(kills):
    start = load()
    child = os.fork()
    if not child:
        for k in itertools.count(start + 1):
            save(k)
    time.sleep(draw.uniform(0.0, 0.08))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    k = load()
    assert k >= start
    saved += k - start
    left += len(os.listdir(os.path.dirname(path))) - 1
    save(k + 1)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
json.dump([left, saved], sys.stdout)
"""


@LINUX
def test_fifty_kills(path):
    """At random moments of a process that saves: the file is whole, old or new; the next save clears up."""
    left, saved = python(KILLED, path, 50)
    assert left > 5
    assert saved > 5
