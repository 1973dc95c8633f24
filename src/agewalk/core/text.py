r"""Text from outside, made fit for the place that it goes to: one function a place, and no other way to get there.

A name of a VM, a file, a phase or a protocol may hold anything. To a terminal it is `printable`, in HTML `html`, in a page's
JSON `script_json`, in a chart or a timeline `printable_strings`, in a sequence diagram `mermaid`, in C or Promela `c_comment`,
in a program `identifier`, in a Python docstring `docstring`, in TOML `toml_string`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from agewalk.core.errors import InputError

#: Characters that Unicode calls printable and that show nothing: Hangul fillers, the grapheme joiner, variation selectors.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
#: What begins a tag, an entity or a comment in HTML, or ends a line in JavaScript.
_IN_SCRIPT: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
_TOML: Final = {'"': '\\"', "\\": "\\\\"}
_MERMAID: Final = re.compile(r"[^\w .,:()\[\]=+*/'|!?-]")


def printable(text: str, *, keep: str = "") -> str:
    """`text` with a space for each character that is not seen, but for those in `keep`.

    Such are control characters (they move the cursor, ring or set a colour), marks that turn the direction of writing, characters
    without width, halves of a surrogate pair, and what Unicode leaves unassigned.
    """
    seen = "".join(c if c.isprintable() or c in keep else " " for c in text)
    return seen if seen.isascii() else _INVISIBLE.sub(" ", seen)


def printable_strings(value: Any) -> Any:
    """A JSON document with `printable` applied to each string in it, keys included. For charts and timelines: their renderers end
    the whole process at a control character or half a surrogate pair."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(key): printable_strings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable_strings(item) for item in value]
    return value


def html(text: str) -> str:
    """`text` as it stands in HTML, between tags or in a quoted attribute."""
    return escape(printable(text))


def script_json(value: Any) -> str:
    """A JSON document for a script element of a page: nothing in it can end the element or begin a comment there."""
    return json.dumps(printable_strings(value), separators=(",", ":")).translate(_IN_SCRIPT)


def filled(template: str, parts: Mapping[str, str]) -> str:
    """`template` with each {{NAME}} replaced, in one pass: what is put in is not searched again. KeyError: no such part."""
    return _PLACE.sub(lambda found: parts[found[1]], template)


def csp_hash(text: str) -> str:
    """The source expression that allows a script or style element of exactly this text in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def mermaid(text: str) -> str:
    """`text` as a name or message in a Mermaid diagram: what could be syntax or HTML there becomes Mermaid's code for it."""
    return _MERMAID.sub(lambda found: f"#{ord(found[0])};", printable(text).replace("->", "to"))


def c_comment(text: str) -> str:
    """`text` inside a comment of C or Promela: it cannot end the comment, nor begin one."""
    return printable(text).replace("*/", "* /").replace("/*", "/ *")


def identifier(text: str) -> str:
    """`text` as a name in Python, C or Promela."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return name if name[:1].isalpha() else f"n{name}"


def docstring(text: str) -> str:
    """`text` inside a Python docstring of double quotes."""
    return printable(text).replace("\\", "\\\\").replace('"', "'")


def toml_string(text: str) -> str:
    """A TOML basic string, quotes included. Raises InputError for text that TOML cannot hold (a name that is not UTF-8)."""
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(f"{printable(text)!r} is not UTF-8: a TOML file cannot name it", hint="rename it")
    return '"' + "".join(_TOML.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'
