"""Finished runs on disk, so that an interrupted comparison goes on where it stopped.

A run is known by a digest of all that it depends on: the host, the traces' contents, the policy (with a user's own file),
the reading, and the text of agewalk itself. Each lies in a file of its own, written by rename.
"""

import hashlib
import json
import os
import stat
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from agewalk.core.files import whole
from agewalk.core.units import Bytes
from agewalk.study.policies import Policy
from agewalk.study.result import Run
from agewalk.study.scenarios.scenario import Scenario

MOST_BYTES: Final = 64 << 20  # of one run's file
_RUN: Final = TypeAdapter(Run)


@lru_cache(maxsize=64)
def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


@lru_cache(maxsize=1)
def _program() -> str:
    root = Path(__file__).parents[1]
    seen = hashlib.blake2b(digest_size=16)
    for layer in ("core", "trace", "model", "engine", "timing", "study"):
        for path in sorted((root / layer).rglob("*.py")) + sorted((root / layer).rglob("*.toml")):
            seen.update(f"\0{path.relative_to(root)}\0".encode())
            seen.update(path.read_bytes())
    return seen.hexdigest()


def key(scenario: Scenario, policy: Policy, memory: Bytes, engine: str) -> str:
    """32 hex digits that two runs share only if they must come out equal."""
    said: dict[str, Any] = {
        "host": scenario.host.model_dump(exclude={"memory"}),
        "aging": scenario.aging.model_dump(),
        "members": [
            {
                **member.model_dump(exclude={"trace"}),
                "kind": type(member).__name__,
                "trace": _content(Path(member.trace)),
            }
            for member in scenario.members
        ],
        "policy": policy.label,
        "memory": memory,
        "engine": engine,
        "program": _program(),
    }
    if policy.file is not None:
        said["own"] = _content(policy.file)
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).hexdigest()


class Store:
    """A folder of finished runs. What lies there may be anything: a file is used only if it is this user's, regular and not huge,
    and holds a whole run of the right types and of the policy, memory and executor that are asked for.

    unusable: files of the right name that were passed over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unusable = 0

    def get(self, digest: str, policy: Policy, memory: Bytes, engine: str) -> Run | None:
        """The run that was kept under a key; None if there is none that can be used."""
        path = self.folder / f"{digest}.json"
        try:
            run = _RUN.validate_json(_read(path), strict=True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # ValidationError is a ValueError
            self.unusable += 1
            return None
        if (run.policy, run.memory_bytes, run.engine) != (policy.label, memory, engine):
            self.unusable += 1
            return None
        return run

    def put(self, digest: str, run: Run) -> None:
        """Keep a finished run."""
        with whole(self.folder / f"{digest}.json") as part:
            part.write_text(json.dumps(asdict(run)), encoding="utf-8")


def _read(path: Path) -> bytes:
    """A file that this user wrote. Raises OSError for any other, and for what is no file: a pipe, a link, a device."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_size > MOST_BYTES:
            raise PermissionError(f"{path} is no run of this user's")
        return file.read(MOST_BYTES)
