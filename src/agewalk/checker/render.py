"""A path for people (text, Mermaid) and machines (JSON, Perfetto), and a test that fails until its bug is gone."""

from __future__ import annotations

import textwrap
from pathlib import Path as FilePath
from typing import Any, Final

from agewalk.checker.search.simulate import Path, PathStep
from agewalk.core.files import whole
from agewalk.core.text import docstring, identifier, printable
from agewalk.core.text import mermaid as label

_COLUMN: Final = 38
_NUMBER: Final = 6  # columns that a step's number takes
_STEP_NS: Final = 1000  # a step's length on the timeline


def text(path: Path, *, brief: bool = False, width: int | None = None) -> str:
    """Numbered steps, one column a thread: kernel function, effect, and under it only what changed. Fits into a mail.

    brief: leave out steps that change nothing and read no page-table entry. width: where that is too narrow for a column a
    thread, all steps are in one column, with the thread's name.
    """
    beside = width is None or _NUMBER + _COLUMN * len(path.threads) - 2 <= width
    room = _COLUMN - 3 if beside or width is None else max(20, width - _NUMBER)
    lines = [path.system, ""]
    if beside:
        indent = " " * _NUMBER
        lines.append((indent + "".join(name.ljust(_COLUMN) for name in path.threads)).rstrip())
        lines.append((indent + "".join(("-" * (_COLUMN - 2)).ljust(_COLUMN) for _ in path.threads)).rstrip())
    held: dict[int, tuple[str, ...]] = {}
    for step in path.steps:
        if brief and not step.changed and not step.cell.endswith("]") and step.number != len(path.steps):
            continue
        who = "" if beside else f"{step.name}: "
        for i, part in enumerate(_said(step, held.get(step.thread, ()), who, room)):
            number = f"{step.number:4d}  " if not i else " " * _NUMBER
            lines.append(f"{number}{' ' * (_COLUMN * step.thread if beside else 0)}{part}".rstrip())
        held[step.thread] = step.held
    if path.loop is not None:
        lines.append(f"      ... and again from step {path.loop}")
    return "\n".join([*lines, "", f"=> {path.outcome}", f"   replay: agewalk check --replay '{path.replay}'"]) + "\n"


def _said(step: PathStep, before: tuple[str, ...], who: str, room: int) -> list[str]:
    """Lines of one step, of at most `room` characters."""
    where = f"{step.cell} = {step.value}" if step.cell else step.value
    texts = [(f"{who}{step.function}()", "", "  "), (f"{step.effect} {where}".strip(), "  ", "    ")]
    if step.held and step.held != before:
        texts.append((f"holding {', '.join(step.held)}", "  ", "    "))
    texts += ((f"{name}: {old} -> {new}", "  * ", "    ") for name, old, new in step.changed)
    return [
        line
        for text, first, then in texts
        for line in textwrap.wrap(text, room, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)
    ]


def as_json(path: Path) -> list[dict[str, Any]]:
    """The counterexample of `agewalk check --json`."""
    return [
        {"thread": s.name, "function": s.function, "effect": s.effect, "cell": s.cell, "value": s.value}
        for s in path.steps
    ]


def mermaid(path: Path) -> str:
    """A sequence diagram: threads and the shared cells between them."""
    ids = {name: f"t{i}" for i, name in enumerate(path.threads)}
    lines = [
        "sequenceDiagram",
        *(f"  participant {ids[n]} as {label(n)}" for n in path.threads),
        "  participant m as memory",
    ]
    for s in path.steps:
        what = label(f"{s.number} {s.function}(): {s.effect} {s.cell}")
        lines.append(
            f"  {ids[s.name]}->>m: {what}" if s.changed else f"  m-->>{ids[s.name]}: {what} = {label(s.value)}"
        )
        for name, old, new in s.changed:
            lines.append(f"  Note over m: {label(f'{name}: {old} to {new}')}")
    lines.append(f"  Note over {ids[path.threads[0]]},m: {label(path.outcome)}")
    return "\n".join(lines) + "\n"


def write_perfetto(path: Path, target: FilePath) -> None:
    """A timeline for ui.perfetto.dev: a track a thread, a microsecond a step. Written beside `target`, then renamed."""
    from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

    with whole(target) as part, part.open("wb") as file:
        builder = StreamingTraceProtoBuilder(file)

        def write(fill: Any) -> None:
            packet = builder.create_packet()
            fill(packet)
            packet.trusted_packet_sequence_id = 1
            builder.write_packet(packet)

        for i, name in enumerate(path.threads):
            write(_track(i, name))
        for step in path.steps:
            write(_begin(step))
            write(_end(step))


def _track(i: int, name: str) -> Any:
    def fill(packet: Any) -> None:
        packet.track_descriptor.uuid = i + 1
        packet.track_descriptor.name = printable(name)

    return fill


def _begin(step: PathStep) -> Any:
    def fill(packet: Any) -> None:
        packet.timestamp = step.number * _STEP_NS
        event = packet.track_event
        event.type = event.TYPE_SLICE_BEGIN
        event.track_uuid = step.thread + 1
        event.name = printable(f"{step.function}: {step.effect} {step.cell}".strip())
        for name, value in (
            ("found", step.value),
            ("holding", ", ".join(step.held)),
            *((n, f"{a} -> {b}") for n, a, b in step.changed),
        ):
            if value:
                note = event.debug_annotations.add()
                note.name = printable(name)
                note.string_value = printable(value)

    return fill


def _end(step: PathStep) -> Any:
    def fill(packet: Any) -> None:
        packet.timestamp = (step.number + 1) * _STEP_NS
        packet.track_event.type = packet.track_event.TYPE_SLICE_END
        packet.track_event.track_uuid = step.thread + 1

    return fill


_TEST: Final = '''"""{system}: written by `agewalk check --emit-test`. Fails until the bug is fixed; keep it then."""

from agewalk.checker.catalog import get_system
from agewalk.checker.explore import check{extra_import}

# The interleaving that broke it, for a debugger or `agewalk check --replay`:
REPLAY = {replay!a}


def test_{ident}() -> None:
    """{outcome}"""
    outcome = check({build})
    broken = [v.name for v in outcome.verdicts if not v.holds]
    assert {property!a} not in broken, outcome.path and outcome.path.outcome
'''


def emit_test(path: Path, system: str, broken: str, model: str = "sc") -> str:
    """Source of a pytest module that checks `system` (a name that `agewalk check` takes) for the property `broken`."""
    build = f"get_system({system!a})"
    if model != "sc":
        build = f"with_memory_model({build}, {model!r})"
    ident = identifier(FilePath(system).name).strip("_").lower()
    return _TEST.format(
        system=docstring(system), replay=path.replay, ident=ident, outcome=docstring(path.outcome), build=build, property=broken,
        extra_import="\nfrom agewalk.checker.automata.store_buffers import with_memory_model" if model != "sc" else "",
    )  # fmt: skip
