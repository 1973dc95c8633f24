"""Code blocks of texts for people: found, run, and compared with the output that the text shows.

    ```console    `$ ` commands with the output that follows them. A comment `# exit code 1` says which code is right (else 0).
                  `host$ ` commands are for the reader's own host (root, hardware, minutes): they are not run.
    ```python     run in one namespace a page, in a folder of the page's own
    ```output     standard output of the block above it
    ```toml       a file, where the line before names one (`my-host.toml`:); TOML that parses in any case
    ```json       parses
    ```text       drawings, excerpts of traces and pseudo-code: not run

`...` in an output stands for anything on a line, and alone on a line for any number of lines: what depends on the machine.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LANGUAGES: Final = {"console", "python", "output", "toml", "json", "text", "c", "diff"}
#: Only a shell on the reader's machine knows these.
ENVIRONMENT: Final = {"COLUMNS": "120", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, the line it starts at, the file that the text above calls it, or ""."""

    language: str
    text: str
    line: int
    name: str = ""


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.splitlines()
    i, before = 0, ""
    while i < len(lines):
        fence = re.match(r"^(\s*)```(.*)$", lines[i])
        if fence is None:
            before = lines[i] if lines[i].strip() else before
            i += 1
            continue
        indent, language = fence[1], fence[2].strip()
        end = next(j for j in range(i + 1, len(lines)) if lines[j].strip() == "```")
        named = re.search(r"`([\w./-]+\.(?:py|toml|csv|json))`[^`]*:$", before)
        text = "\n".join(line.removeprefix(indent) for line in lines[i + 1 : end]) + "\n"
        found.append(Block(language, text, i + 1, named[1] if named else ""))
        i, before = end + 1, ""
    return found


def indented(page: str) -> list[int]:
    """Lines at which a code block begins that is not fenced: it would not be run."""
    prose = re.sub(r"^\s*```.*?^\s*```$", lambda m: "\n" * m[0].count("\n"), page, flags=re.DOTALL | re.MULTILINE)
    lines = ["", *prose.splitlines()]
    return [
        i
        for i in range(1, len(lines))
        if lines[i].startswith("    ") and not lines[i - 1].strip() and not re.match(r"\s*(?:[-*|]|\d+\.)\s", lines[i])
    ]


def matches(expected: str, got: str) -> bool:
    """Is `got` the output that a text shows? `...` stands for anything; blanks at the ends of lines do not count."""
    want = [line.rstrip() for line in expected.strip("\n").splitlines()]
    have = "\n".join(line.rstrip() for line in got.strip("\n").splitlines())
    pattern = ""
    for line in want:
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\\n]*".join(re.escape(part) for part in line.split("...")) + "\n"
    return re.fullmatch(pattern, have + "\n" if have else "") is not None


@dataclass(frozen=True, slots=True)
class Command:
    """One `$ ` line of a console block and the output below it (None: the text shows none)."""

    words: str
    code: int
    expected: str | None
    here: bool


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for line in block.text.splitlines():
        prompt = re.match(r"^(host)?\$ (.*)$", line)
        if prompt:
            code = re.search(r"#.*\bexit code (\d+)", prompt[2])
            found.append(Command(prompt[2], int(code[1]) if code else 0, None, here=prompt[1] is None))
        elif found and found[-1].words.endswith("\\"):
            last = found.pop()
            found.append(Command(last.words[:-1] + line.strip(), last.code, None, last.here))
        elif found:
            last = found.pop()
            found.append(Command(last.words, last.code, (last.expected or "") + line + "\n", last.here))
        elif line.strip():
            raise AssertionError(f"line {block.line}: a console block begins with a prompt, not with {line!r}")
    return found


class Page:
    """Runs the blocks of one page in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.output = ""

    def run(self, block: Block) -> None:
        """Raises AssertionError where the block does not do what the text says."""
        getattr(self, f"_{block.language}", lambda _: None)(block)

    def _console(self, block: Block) -> None:
        for command in commands(block):
            if not command.here:
                continue
            done = subprocess.run(
                ["bash", "-c", command.words],
                cwd=self.folder,
                env=os.environ | ENVIRONMENT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if command.code else subprocess.PIPE,
                text=True,
                check=False,
            )
            said = f"{command.words}\n{done.stdout}{done.stderr or ''}"
            assert done.returncode == command.code, f"exit code {done.returncode}: {said}"
            assert command.expected is None or matches(command.expected, done.stdout), said
            self.output = done.stdout

    def _python(self, block: Block) -> None:
        if block.name:
            (self.folder / block.name).write_text(block.text, encoding="utf-8")
        code = compile(block.text, block.name or f"line {block.line}", "exec")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, self.namespace)
        self.output = said.getvalue()

    def _output(self, block: Block) -> None:
        assert matches(block.text, self.output), self.output

    def _toml(self, block: Block) -> None:
        tomllib.loads(block.text)
        if block.name:
            (self.folder / block.name).write_text(block.text, encoding="utf-8")

    def _json(self, block: Block) -> None:
        json.loads(block.text)
