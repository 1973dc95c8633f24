"""Files of the user's: results that are written whole or not at all, temporary directories, and the place of caches."""

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_SPECIAL: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` if the block ends well, and goes if not.

    A reader, and a crash, find the old file or the new one, never a part; a kill may leave a hidden .part file. Makes the folder.
    A symbolic link stays one: what it points to is replaced, or made. The hidden file is new and its name cannot be guessed: in a
    folder that others can write to, no link of theirs is followed.
    durable: the content is on the disk before it has its name; not needed for what is checked when read and can be made again.
    Raises OSError where the file cannot be written, and at once, as FileExistsError, where there is a pipe, a device or a socket.
    """
    _refuse_special(path)
    place = Path(os.path.realpath(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name[:80]}.{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o666))
        yield part
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(place)
    except OSError as error:
        if error.errno is not None and str(error.filename) in {"None", str(part)}:  # a full disk does not say whose
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def _refuse_special(path: Path) -> None:
    """Refuse now, not when all is written, what a file would take the place of: a folder, /dev/null ..."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        what = _SPECIAL.get(kind, "something else")
        raise FileExistsError(errno.EEXIST, f"is {what}; a file would take its place", str(path))


_SCRATCH: Final = re.compile(r"agewalk-(\d+)-\w+-\w+")


def scratch_directory(what: str) -> Path:
    """A new temporary directory that only this user can enter; its name tells process and purpose.

    Directories of processes that were killed before they could remove theirs go now.
    """
    home = Path(tempfile.gettempdir())
    for old in home.glob("agewalk-*"):
        found = _SCRATCH.fullmatch(old.name)
        with suppress(OSError):
            if found and old.lstat().st_uid == os.geteuid() and not _runs(int(found[1])):
                remove(old)
    return Path(tempfile.mkdtemp(prefix=f"agewalk-{os.getpid()}-{what}-"))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no process's number
        return True
    return True


def remove(directory: Path) -> None:
    """Remove a temporary directory and all in it; links are not followed, and what cannot go stays."""
    shutil.rmtree(directory, ignore_errors=True)


def caches() -> Path:
    """Where what can be made again is kept: AGEWALK_CACHE, or agewalk's folder in XDG_CACHE_HOME or ~/.cache.

    Raises RuntimeError where this user has no home directory.
    """
    if named := os.environ.get("AGEWALK_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "agewalk"
