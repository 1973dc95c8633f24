"""`Host`: the files of a live host or of a recorded tree, and what each failure to read one means."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from agewalk.core.errors import InputError, MissingError

#: No file that is read here is longer: 10,000 cgroups take some 4 MiB in lru_gen_full. A limit for what is not the kernel's.
LIMIT: Final = 64 << 20
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESRCH, errno.ENODEV, errno.EBADF, errno.ELOOP})
_BUSY: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.EBUSY})


class Gone(MissingError):
    """The file, its process or its cgroup does not exist, or does no longer."""


class Denied(MissingError):
    """This user may not read or write the file (EPERM, EACCES)."""


class Busy(MissingError):
    """The kernel could not do it now (EAGAIN, EBUSY). A part may be done: measure, then try again."""


class Refused(InputError):
    """The kernel does not take what was written (EINVAL), or the file is not one that this package reads."""


def _told(error: OSError, path: str) -> Exception:
    said = f"{path}: {error.strerror or error}"
    if error.errno in _GONE:
        return Gone(said, hint="it ended meanwhile, or this kernel does not have it: agewalk host probe")
    if error.errno in {errno.EPERM, errno.EACCES, errno.EROFS}:
        return Denied(said, hint="run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for reading")
    if error.errno in _BUSY:
        return Busy(said, hint="a part may be done: read the state again before the next try")
    return Refused(said, hint="agewalk host probe says what this kernel takes")


class Host:
    """Files below `root`: "/" is this machine, anything else a recorded tree.

    Paths are absolute as the kernel shows them. A path with ".." and a link out of a recorded tree are refused: both stand in
    texts from outside. Each method raises Gone, Denied, Busy or Refused, and nothing else.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self.root = os.path.realpath(root)

    def _place(self, path: str) -> str:
        parts = path.split("/")
        if parts[0] or ".." in parts or "\0" in path:
            raise Refused(f"{path!r} is no absolute path without '..'", hint="outside this cgroup namespace?")
        return str(Path(self.root, *[part for part in parts if part]))

    def _inside(self, place: str, path: str) -> None:
        if self.root != "/" and not (os.path.realpath(place) + "/").startswith(self.root + "/"):
            raise Refused(f"{path} leaves the recorded tree", hint="record the tree again without such links")

    def read(self, path: str, *, limit: int = LIMIT, offset: int = 0) -> bytes:
        """At most `limit` bytes from `offset` to the end of the file. Refused: it is longer, or no regular file."""
        data = self.read_up_to(path, limit + 1, offset=offset)
        if len(data) > limit:
            raise Refused(f"{path} holds more than {limit} bytes", hint="is it a file of the kernel's?")
        return data

    def read_up_to(self, path: str, size: int, *, offset: int = 0) -> bytes:
        """The first `size` bytes from `offset`, or fewer where the file ends."""
        place = self._place(path)
        try:
            self._inside(place, path)
            file = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise Refused(f"{path} is no regular file", hint="agewalk reads files of the kernel alone")
                if offset:
                    os.lseek(file, offset, os.SEEK_SET)
                parts, room = [], size
                while room > 0 and (part := os.read(file, min(room, 1 << 20))):
                    parts.append(part)
                    room -= len(part)
                return b"".join(parts)
            finally:
                os.close(file)
        except OSError as error:
            raise _told(error, path) from None

    def text(self, path: str, *, limit: int = LIMIT) -> str:
        """The file as text. Bytes that are not UTF-8 become surrogates, so that names stay distinct."""
        return self.read(path, limit=limit).decode(errors="surrogateescape")

    def link(self, path: str) -> str:
        """Target of a symbolic link, which is not followed."""
        try:
            return str(Path(self._place(path)).readlink())
        except OSError as error:
            raise _told(error, path) from None

    def names(self, path: str) -> list[str]:
        """Names in a directory, sorted; none where there is no such directory. Raises Denied where it may not be read."""
        place = self._place(path)
        try:
            self._inside(place, path)
            return sorted(entry.name for entry in Path(place).iterdir())
        except OSError as error:
            told = _told(error, path)
            if isinstance(told, Gone):
                return []
            raise told from None

    def exists(self, path: str) -> bool:
        """Is there such a file? False, too, where a directory above it may not be entered."""
        return os.path.lexists(self._place(path))

    def inode(self, path: str) -> int:
        """The inode number: for a cgroup v2 directory its id, which a new cgroup of the same name does not share."""
        try:
            return Path(self._place(path)).stat().st_ino
        except OSError as error:
            raise _told(error, path) from None

    def write(self, path: str, text: str) -> None:
        """Write to an existing file in one write(2). This changes the host. Success is no proof: read the state again."""
        place = self._place(path)
        try:
            self._inside(place, path)
            file = os.open(place, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.write(file, text.encode(errors="surrogateescape"))
            finally:
                os.close(file)
        except OSError as error:
            raise _told(error, path) from None
