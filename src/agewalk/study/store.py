"""Finished runs on disk, so that an interrupted comparison goes on where it stopped.

A run is known by a digest of all that it depends on: the host, the traces' contents, the policy (with a user's own file),
the reading, and the text of agewalk itself. Each lies in a file of its own, written by rename.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from agewalk.core.files import whole
from agewalk.core.parse import parse_json
from agewalk.core.units import Bytes
from agewalk.study.policies import Policy
from agewalk.study.result import Run
from agewalk.study.scenario import Scenario


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
    """A folder of finished runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, digest: str) -> Run | None:
        """The run that was kept under a key; None if there is none that can be read."""
        try:
            return Run.from_json(parse_json((self.folder / f"{digest}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, digest: str, run: Run) -> None:
        """Keep a finished run."""
        with whole(self.folder / f"{digest}.json") as part:
            part.write_text(json.dumps(run.to_json()), encoding="utf-8")
