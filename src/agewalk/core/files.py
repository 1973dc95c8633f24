"""Files of the user's: results that are written whole or not at all, and the place of caches."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
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
    A symbolic link stays one: what it points to is replaced, or made.
    durable: the content is on the disk before it has its name; not needed for what is checked when read and can be made again.
    Raises OSError where the file cannot be written, and at once, as FileExistsError, where there is a pipe, a device or a socket.
    """
    _refuse_special(path)
    place = Path(os.path.realpath(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name[:80]}.{os.getpid()}.part")
    try:
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


def caches() -> Path:
    """Where what can be made again is kept: AGEWALK_CACHE, or agewalk's folder in XDG_CACHE_HOME or ~/.cache.

    Raises RuntimeError where nobody has a home.
    """
    if named := os.environ.get("AGEWALK_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "agewalk"
