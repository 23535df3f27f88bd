"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from .._signals import uninterrupted

WINDOWS = sys.platform == "win32"  # which neither deletes nor renames an open file


def write_whole(path: str | bytes | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> None:
    """Make ``pieces`` the content of a file, on the disk by the time this returns.

    They go to a temporary file in the same folder, which then takes the file's name: whoever reads,
    and whatever is interrupted, finds the old content or the new. A link is written through, the
    mode of a file that is there is kept, that of a new one follows the umask. After an OSError
    the file is as it was.
    """
    given, target = os.fsdecode(path), os.path.realpath(os.fsdecode(path))
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "Not a regular file", target)
    if not os.path.exists(os.path.dirname(target)):
        raise FileNotFoundError(errno.ENOENT, "Its folder does not exist", given)
    _remove_leftovers(target)
    while not _written(target, _temporary(target), pieces, given):
        pass
    _settle(os.path.dirname(target))


def _written(target: str, temporary: str, pieces: Iterable[bytes | memoryview], given: str) -> bool:
    """Write a file under another name and rename it; False, and nothing done, if that name was taken away."""
    file = None
    try:
        with uninterrupted():  # as a file that has no name here yet is not closed
            file = open(temporary, "xb")  # noqa: SIM115
        _mark_in_use(file.fileno())
        if not os.path.exists(temporary):
            file.close()
            return False  # another writer came before the mark, and took it for a leftover
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
        if WINDOWS:
            file.close()
        os.replace(temporary, target)
        file.close()
    except BaseException as error:
        if file is not None:
            with contextlib.suppress(OSError):  # of what could not be flushed
                file.close()
        if isinstance(error, OSError) and error.filename == temporary:
            error.filename = given
        try:
            os.unlink(temporary)
        except FileNotFoundError:  # it was not made yet, or has the target's name already
            raise error from None
        except OSError:
            pass
        error.add_note(f"{target} is as it was before")
        raise
    return True


def _temporary(target: str) -> str:
    """A new name beside the target."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f"{_prefix(name)}{secrets.token_hex(8)}.tmp")


def _prefix(name: str) -> str:
    """How the names of temporary files of that target begin: all of it, or a digest of a long one.

    Names have at most 255 bytes, on some file systems 143.
    """
    encoded = os.fsencode(name)
    return f".{name}." if len(encoded) <= 100 else f".{hashlib.sha256(encoded).hexdigest()[:32]}."


def _remove_leftovers(target: str) -> None:
    """Delete the temporary files of this target whose writers were killed."""
    folder, name = os.path.split(target)
    for path in Path(folder).glob(f"{glob.escape(_prefix(name))}{'[0-9a-f]' * 16}.tmp"):
        with contextlib.suppress(OSError):
            _delete_unless_in_use(path)


def _mark_in_use(file: int) -> None:
    """Lock a file until it is closed, at the latest by the end of this process."""
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)


def _delete_unless_in_use(path: Path) -> None:
    """Delete a file; OSError if its writer lives."""
    if sys.platform == "win32":
        path.unlink()
        return
    import fcntl

    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _settle(folder: str) -> None:
    """Have the folder's new entry on the disk, where a folder can be opened for that."""
    with contextlib.suppress(OSError):  # the file is in its place by now
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
