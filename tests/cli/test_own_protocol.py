"""A user's protocol that is wrong: exit code 2 and one message with file, line and cause; one that prints spoils no JSON."""

import json
from pathlib import Path

import pytest
from tests.cli.test_compare import SCENARIO, agewalk, record

pytestmark = pytest.mark.slow  # each test starts processes

HEAD = """from agewalk.model.protocols.base import AgingProtocol

class Mine(AgingProtocol):
    def age_gfn(self, kvm, rng, *, clear, fast_only):
"""
WRONG = {
    "raises": ("        raise RuntimeError('boom')\n        yield\n", "mine.py, line 5: RuntimeError: boom"),
    "exits": ("        raise SystemExit(9)\n        yield\n", "mine.py, line 5: SystemExit: 9"),
    "no number": ("        return 'young'\n        yield\n", "mine.py, line 3: class Mine does not answer as it should"),
    "by address": (
        "        return (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only)) * (rng.start % 2)\n",
        "mine.py: Mine answers otherwise about a page at another address",
    ),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path / "a.parquet")
    record(tmp_path / "b.parquet")
    (tmp_path / "host.toml").write_text(SCENARIO)
    return tmp_path


@pytest.mark.parametrize("what", WRONG)
def test_it_is_named_before_anything_runs(folder: Path, what: str) -> None:
    body, says = WRONG[what]
    (folder / "mine.py").write_text(HEAD + body)
    words = ["compare", "host.toml", "--protocol", "mine.py:Mine", "--protocol", "v7", "--workers", "2"]
    done = agewalk(folder, *words, "--engine", "direct" if what == "by address" else "compiled")
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out" / "results.json").exists()


def test_a_signature_that_lacks_an_argument(folder: Path) -> None:
    (folder / "mine.py").write_text(HEAD.replace(", fast_only", "") + "        return 0\n        yield\n")
    done = agewalk(folder, "protocol", "table", "mine.py:Mine")
    assert done.returncode == 2
    assert "mine.py, line 3: class Mine does not answer as it should: TypeError" in done.stderr
    assert "fast_only" in done.stderr


def test_it_breaks_in_the_middle_of_a_run(folder: Path) -> None:
    """Only after 6,000 calls, which the truth table does not make; in a worker, on the direct reading."""
    text = HEAD.replace("    def", "    calls = 0\n\n    def")
    body = "        Mine.calls += 1\n        if Mine.calls > 6000:\n            raise RuntimeError('late')\n"
    body += "        return (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only))\n"
    (folder / "mine.py").write_text(text + body)
    words = ["compare", "host.toml", "--protocol", "mine.py:Mine", "--protocol", "v7", "--workers", "2"]
    done = agewalk(folder, *words, "--engine", "direct")
    assert done.returncode == 2, done.stderr
    assert "mine.py, line 9: RuntimeError: late" in done.stderr


@pytest.mark.parametrize("words", [("compare", "host.toml", "--protocol"), ("protocol", "table")])
def test_what_it_prints_is_not_in_the_document(folder: Path, words: tuple[str, ...]) -> None:
    body = "        print('hello')\n        return (yield from super().age_gfn(kvm, rng, clear=clear, fast_only=fast_only))\n"
    (folder / "mine.py").write_text("print('imported')\n" + HEAD + body)
    done = agewalk(folder, *words, "mine.py:Mine", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == 1
    assert "imported\n" in done.stderr
    assert "hello\n" in done.stderr
