"""Trace metadata as the strings that a Parquet file carries, both ways."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

from agewalk.core.errors import TraceError
from agewalk.core.units import PAGE_SIZE, Bytes, Ns
from agewalk.trace.format import Phase, TraceMeta

MAX_PHYSICAL: Final = 1 << 52  # bytes; x86-64 physical addresses have at most 52 bits (Intel SDM vol. 3A, 4.4)
MAX_TIME: Final = (1 << 63) - 1
_KNOWN: Final = {
    "page_size", "memory_bytes", "vcpus", "workload", "kernel", "row_epoch_ns", "phases", "capture", "licence",
}  # fmt: skip
_OWN: Final = {"ARROW:schema", "pandas"}  # bookkeeping of other writers
_HINT: Final = "'agewalk trace convert' writes well-formed metadata; 'agewalk docs formats' lists the keys"


def parse_meta(name: str, raw: Mapping[bytes, bytes]) -> TraceMeta:
    """Metadata of key-value pairs. Raises TraceError that names the key for what is missing or malformed."""
    texts: dict[str, str] = {}
    for key, value in raw.items():
        try:
            label = key.decode()
            if label not in _OWN:
                texts[label] = value.decode()
        except UnicodeDecodeError:
            raise _bad(name, key.decode(errors="replace"), "is not UTF-8 text") from None
    page_size = _number(name, texts, "page_size", 1, MAX_PHYSICAL)
    memory = _number(name, texts, "memory_bytes", 1, MAX_PHYSICAL)
    if page_size is None:
        raise _bad(name, "page_size", "is missing")
    if memory is None:
        raise _bad(name, "memory_bytes", "is missing")
    if page_size != PAGE_SIZE:
        raise TraceError(
            f"{name}: metadata 'page_size' is {page_size}; only {PAGE_SIZE} is supported",
            hint="fold the page numbers to 4 KiB guest frames: gfn = address >> 12",
        )
    if memory % PAGE_SIZE:
        raise _bad(name, "memory_bytes", f"is {memory}, not a multiple of {PAGE_SIZE}")
    epoch = _number(name, texts, "row_epoch_ns", 0, MAX_TIME)
    return TraceMeta(
        memory_bytes=Bytes(memory),
        page_size=page_size,
        vcpus=_number(name, texts, "vcpus", 1, 256),
        workload=texts.get("workload", ""),
        kernel=texts.get("kernel", ""),
        row_epoch_ns=None if epoch is None else Ns(epoch),
        phases=_phases(name, texts.get("phases", "[]")),
        capture=texts.get("capture", ""),
        licence=texts.get("licence", ""),
        other={k: v for k, v in texts.items() if k not in _KNOWN},
    )


def meta_strings(meta: TraceMeta) -> dict[str, str]:
    """The key-value pairs of `meta`, unknown ones left out, in a fixed order."""
    phases = [{"mark": p.mark, "time_ns": p.time_ns, "text": p.text} for p in meta.phases]
    pairs = {
        "page_size": str(meta.page_size),
        "memory_bytes": str(meta.memory_bytes),
        "vcpus": "" if meta.vcpus is None else str(meta.vcpus),
        "workload": meta.workload,
        "kernel": meta.kernel,
        "row_epoch_ns": "" if meta.row_epoch_ns is None else str(meta.row_epoch_ns),
        "phases": json.dumps(phases, ensure_ascii=False) if phases else "",
        "capture": meta.capture,
        "licence": meta.licence,
        **{k: v for k, v in sorted(meta.other.items()) if k not in _KNOWN},
    }
    return {k: v for k, v in pairs.items() if v}


def meta_bytes(name: str, meta: TraceMeta) -> dict[bytes, bytes]:
    """`meta_strings` as UTF-8. Raises TraceError for a text that is none."""
    found: dict[bytes, bytes] = {}
    for key, text in meta_strings(meta).items():
        try:
            found[key.encode()] = text.encode()
        except UnicodeEncodeError:
            raise _bad(name, ascii(key)[1:-1], "is not UTF-8 text") from None
    return found


def _bad(name: str, key: str, problem: str) -> TraceError:
    return TraceError(f"{name}: metadata '{key}' {problem}", hint=_HINT)


def _number(name: str, texts: Mapping[str, str], key: str, low: int, high: int) -> int | None:
    text = texts.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise _bad(name, key, f"is {text[:40]!r}, not a whole number")
    if not low <= int(text) <= high:
        raise _bad(name, key, f"is {text}, outside {low}..{high}")
    return int(text)


def _phases(name: str, text: str) -> tuple[Phase, ...]:
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad(name, "phases", "is not JSON") from None
    if not isinstance(listed, list):
        raise _bad(name, "phases", "is not a JSON list")
    return tuple(sorted((_phase(name, i, p) for i, p in enumerate(listed)), key=lambda p: p.time_ns))


def _phase(name: str, index: int, raw: object) -> Phase:
    wanted: dict[str, Callable[[object], bool]] = {
        "mark": lambda v: type(v) is int and abs(v) <= MAX_TIME,
        "time_ns": lambda v: type(v) is int and 0 <= v <= MAX_TIME,
        "text": lambda v: isinstance(v, str),
    }
    if not isinstance(raw, dict):
        raise _bad(name, "phases", f"entry {index} is not an object with mark, time_ns and text")
    for key, fits in wanted.items():
        if not fits(raw.get(key)):
            raise _bad(name, "phases", f"entry {index}: '{key}' is missing or has the wrong type")
    if any("\ud800" <= c <= "\udfff" for c in raw["text"]):
        raise _bad(name, "phases", f"entry {index}: 'text' holds half of a surrogate pair, which is no character")
    return Phase(raw["mark"], Ns(raw["time_ns"]), raw["text"])
