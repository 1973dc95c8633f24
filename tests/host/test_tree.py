"""`Host`: each failure of a live system has one outcome, and no path leaves the tree."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.host.dumps import AGED, SCOPE, tree

from agewalk.host.aging import LRU_GEN, Stale, age
from agewalk.host.lru_gen import lru_gen
from agewalk.host.tree import Busy, Denied, Gone, Host, Refused


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (errno.ESRCH, Gone),
        (errno.ENOENT, Gone),
        (errno.ENODEV, Gone),
        (errno.EAGAIN, Busy),
        (errno.EPERM, Denied),
        (errno.EACCES, Denied),
        (errno.EINVAL, Refused),
    ],
)
def test_each_error_has_one_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, outcome: type[Exception]
) -> None:
    """For reading (the process ends after open) and for writing (EAGAIN of memory.reclaim)."""
    host = Host(tree(tmp_path, {"/f": "x"}))

    def fail(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fail)
        with pytest.raises(outcome):
            host.text("/f")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(outcome):
            host.write("/f", "1")


def test_a_file_that_shrinks_between_reads_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [b"abc", b"d", b""]
    host = Host(tree(tmp_path, {"/f": "abcdefgh"}))
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", lambda *_: parts.pop(0))
        assert host.text("/f") == "abcd"


def test_what_is_no_file_of_the_kernel_is_refused(tmp_path: Path) -> None:
    """Too long, a pipe (opening it must not wait), a directory, '..', a link out of the tree."""
    root = tree(tmp_path / "tree", {"/long": "x" * 11, "/d/f": ""}, {"/out": "/etc/passwd", "/up": ".."})
    os.mkfifo(root / "pipe")
    host = Host(root)
    for path in ("/pipe", "/d", "/../x", "relative", "/a\0b", "/out", "/up/x"):
        with pytest.raises(Refused):
            host.text(path)
    with pytest.raises(Refused, match="more than 10 bytes"):
        host.text("/long", limit=10)


def test_what_is_absent_is_gone_or_empty(tmp_path: Path) -> None:
    host = Host(tree(tmp_path, {}, {"/proc/7/fd/4": "anon_inode:kvm-vm"}))
    with pytest.raises(Gone):
        host.text("/proc/1/maps")
    assert (host.names("/none"), host.exists("/none")) == ([], False)
    assert (host.names("/proc/7/fd"), host.link("/proc/7/fd/4")) == (["4"], "anon_inode:kvm-vm")


class Kernel(Host):
    """A tree whose lru_gen answers a write with `after`."""

    def __init__(self, root: Path, after: str) -> None:
        super().__init__(root)
        self.after, self.written = after, list[str]()

    def write(self, path: str, text: str) -> None:
        self.written.append(text)
        tree(Path(self.root), {path: self.after})


def aged(root: Path, now: str, after: str) -> tuple[Kernel, Any]:
    """A kernel that shows `now`, and the lruvec as it was read before."""
    return Kernel(tree(root, {LRU_GEN: now}), after), lru_gen(AGED["7.3"])[0]


def test_aging_returns_what_is_there_now(tmp_path: Path) -> None:
    host, before = aged(tmp_path, AGED["7.3"], AGED["7.3"] + "          7          4          0           0 \n")
    assert age(host, before).max_seq == 7
    assert host.written == ["+ 81 0 6 1 1\n"]


def test_an_old_seq_that_the_kernel_ignores_is_no_aging(tmp_path: Path) -> None:
    host, before = aged(tmp_path, AGED["7.3"], AGED["7.3"])
    with pytest.raises(Stale, match="made no generation after 6"):
        age(host, before)


@pytest.mark.parametrize("now", ["", AGED["7.3"].replace(SCOPE, "/another")])
def test_a_cgroup_that_went_or_whose_id_is_reused_is_not_aged(tmp_path: Path, now: str) -> None:
    host, before = aged(tmp_path, now, now)
    with pytest.raises(Gone):
        age(host, before)
    assert host.written == []
