"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

WINDOWS = sys.platform == "win32"  # which neither deletes nor renames an open file


def write_whole(path: str | bytes | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> None:
    """Make ``pieces`` the content of a file, on the disk by the time this returns.

    They go to a temporary file in the same folder, which then takes the file's name: whoever reads,
    and whatever is interrupted, finds the old content or the new. A link is written through, the
    mode of a file that is there is kept, that of a new one follows the umask. After an OSError
    the file is as it was.
    """
    target = os.path.realpath(os.fsdecode(path))
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "Not a regular file", target)
    _remove_leftovers(target)
    file, temporary = _temporary(target)
    try:
        with file:
            if os.path.exists(target):
                shutil.copymode(target, temporary)
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
            if WINDOWS:
                file.close()
            os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        error.add_note(f"{target} is as it was before")
        raise
    _settle(os.path.dirname(target))


def _temporary(target: str) -> tuple[BinaryIO, str]:
    """A new file beside the target, marked as in use, and its name."""
    folder, name = os.path.split(target)
    while True:
        path = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
        file = open(path, "xb")  # noqa: SIM115
        _mark_in_use(file.fileno())
        if os.path.exists(path):
            return file, path
        file.close()  # another writer came before the mark, and took it for a leftover


def _remove_leftovers(target: str) -> None:
    """Delete the temporary files of this target whose writers were killed."""
    folder, name = os.path.split(target)
    for path in Path(folder).glob(f".{glob.escape(name)}.{'[0-9a-f]' * 16}.tmp"):
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
