"""The cache of compiled code, shared by processes.

A user who can write to such a directory decides what the next process runs: numba's index files are pickles, compiled modules
are machine code. So a directory is used only if no other user (root apart) can have put anything there; else a private temporary
one takes its place, until this process ends.
"""

import atexit
import hashlib
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agewalk.core.files import caches, remove, scratch_directory
from agewalk.core.text import printable

PACKAGE: Final = Path(__file__).parents[1]
NAMED_BY: Final = "AGEWALK_CACHE"
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def digest(files: Iterable[Path], *others: str, stamps: bool = False) -> str:
    """16 hex digits of the names and contents of `files`, in their order, and of other texts that decide how they are compiled.

    stamps: paths and times of change count, too: numba's caches are good for them alone.
    """
    seen = hashlib.sha256("\0".join([sys.version, *others]).encode())
    for path in files:
        text = path.read_bytes()
        name = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.name
        stamp = f"{path}\0{path.stat().st_mtime_ns}" if stamps else ""
        seen.update(f"\0{name}\0{stamp}\0{len(text)}\0".encode() + text)
    return seen.hexdigest()[:16]


def directory(name: str) -> Path:
    """The directory `name` of the cache, made if need be; what is in it can be trusted. Raises OSError if none can be made."""
    try:
        place = caches()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place / name
        found.mkdir(mode=0o700, exist_ok=True)
        if why := distrust(found):
            raise PermissionError(why)
        if not os.access(found, os.W_OK | os.X_OK):
            raise PermissionError(f"{found} cannot be written")
    except OSError as error:
        found = _temporary(f"{error.filename}: {error.strerror}" if error.filename else str(error)) / name
    except RuntimeError:
        found = _temporary("this user has no home directory") / name
    found.mkdir(mode=0o700, exist_ok=True)
    return found


def distrust(path: Path) -> str:
    """Why another user may have put something into this directory, or put it there; "" if none can."""
    path = Path(os.path.realpath(path))
    about = path.stat()
    if about.st_uid != os.geteuid():
        return f"{path} belongs to another user"
    if _others_can_write(about):
        return f"{path} can be written by others"
    for parent in path.parents:
        about = parent.stat()
        if about.st_uid not in {0, os.geteuid()}:
            return f"{parent} belongs to another user"
        if _others_can_write(about) and not about.st_mode & stat.S_ISVTX:
            return f"{parent} can be written by others"
    return ""


def _others_can_write(about: os.stat_result) -> bool:
    """A group of the same number as its only user (user private groups, pam_umask's usergroups) is no other."""
    private = about.st_gid == about.st_uid == os.geteuid()
    return bool(about.st_mode & (stat.S_IWOTH if private else _OTHERS_WRITE))


def _temporary(why: str) -> Path:
    """A directory for this process and its children, which find it by the environment; it goes when this process ends."""
    made = scratch_directory("cache")
    here = os.getpid()

    def gone() -> None:
        if os.getpid() == here:  # not in a child that was forked
            remove(made)

    atexit.register(gone)
    os.environ[NAMED_BY] = str(made)
    said = f"compiled code is not kept for the next run: {printable(why)}; {NAMED_BY} can name another directory"
    sys.stderr.write(f"agewalk: warning: {said}\n")
    return made
