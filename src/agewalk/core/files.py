"""Files of the user's: results that are written whole or not at all, and the place of caches."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` if the block ends well, and goes if not.

    A reader, and a crash, find the old file or the new one, never a part; a kill may leave a hidden .part file. Makes the folder.
    durable: the content is on the disk before it has its name; not needed for what is checked when read and can be made again.
    Raises OSError where the file cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(21, "Is a directory", str(path))  # now, not when all is written
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:80]}.{os.getpid()}.part")
    try:
        yield part
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def caches() -> Path:
    """Where what can be made again is kept: AGEWALK_CACHE, or agewalk's folder in XDG_CACHE_HOME or ~/.cache.

    Raises RuntimeError where nobody has a home.
    """
    if named := os.environ.get("AGEWALK_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "agewalk"
