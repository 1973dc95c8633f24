"""Protocols by name, and a user's own from a file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final

from agewalk.core.errors import InputError, UsageError
from agewalk.core.userfile import file_of, run_user_file, users_code
from agewalk.model.profiles import PROFILES
from agewalk.model.protocols.base import AgingProtocol
from agewalk.model.protocols.christopherson import Christopherson
from agewalk.model.protocols.houghton import Houghton
from agewalk.model.protocols.linux_6_9 import Linux69
from agewalk.model.protocols.linux_6_13 import Linux613
from agewalk.model.protocols.linux_6_15 import Linux615
from agewalk.model.protocols.linux_6_18 import Linux618
from agewalk.model.protocols.linux_7_3 import Linux73
from agewalk.model.protocols.v2 import V2
from agewalk.model.protocols.v3 import V3
from agewalk.model.protocols.v4 import V4
from agewalk.model.protocols.v5 import V5
from agewalk.model.protocols.v6 import V6
from agewalk.model.protocols.v7 import V7

PROTOCOLS: Final[dict[str, type[AgingProtocol]]] = {
    cls.name: cls
    for cls in (Linux69, Linux613, Linux615, Linux618, Linux73, V2, V3, V4, V5, V6, V7, Houghton, Christopherson)
}


def shipped_by(name: str) -> type[AgingProtocol] | None:
    """`linux-6.12`: the protocol that this kernel shipped, in that kernel; None if there is no such profile."""
    kernel = PROFILES.get(name.removeprefix("linux-")) if name.startswith("linux-") else None
    if kernel is None:
        return None
    base = PROTOCOLS[kernel.protocol]
    about = {
        "name": name,
        "profile": kernel.name,
        "summary": f"Linux {kernel.name}: {kernel.summary}",
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (base,), about)


def get_protocol(spec: str) -> AgingProtocol:
    """The protocol that `spec` names: `v7`, `houghton:must_check=rmaps`, `my/file.py:MyClass`, with options likewise.

    Raises UsageError for an unknown name or option, InputError for a file that cannot be used.
    """
    head, _, rest = spec.partition(".py:")
    if rest:
        name, _, options = rest.partition(":")
        cls = load_class(Path(head + ".py"), name)
    elif spec.endswith(".py"):
        raise UsageError(
            f"{spec!r} names a file but no class in it",
            hint=f"write {spec}:ClassName ('agewalk docs your-own-protocol' shows one)",
        )
    else:
        name, _, options = spec.partition(":")
        cls = _by_name(name)
    if not (rest and file_of(cls)):
        return cls(**_options(spec, options))
    with users_code(cls):
        return cls(**_options(spec, options))


def protocol_of(protocol: str | AgingProtocol | type[AgingProtocol]) -> AgingProtocol:
    """A protocol from its name, its class (with default options) or itself. Raises UsageError, InputError."""
    if isinstance(protocol, str):
        return get_protocol(protocol)
    if isinstance(protocol, AgingProtocol):
        return protocol
    if not _is_protocol(protocol):
        raise UsageError(f"{protocol!r} is no protocol", hint="a name, or a subclass of agewalk.AgingProtocol")
    protocol.name = protocol.name or protocol.__name__
    return protocol()


def _by_name(name: str) -> type[AgingProtocol]:
    found = PROTOCOLS.get(name) or shipped_by(name)
    if found is not None:
        return found
    near = difflib.get_close_matches(name, PROTOCOLS, n=1, cutoff=0.5)
    known = ", ".join([*PROTOCOLS, *(f"linux-{kernel}" for kernel in PROFILES if f"linux-{kernel}" not in PROTOCOLS)])
    raise UsageError(
        f"there is no protocol {name!r}",
        hint=(f"did you mean {near[0]!r}? " if near else "") + f"known: {known}; your own: path/to/file.py:ClassName",
    )


def _options(spec: str, text: str) -> dict[str, str]:
    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not value:
            raise UsageError(f"{spec!r}: {part!r} is not an option", hint="write option=value, several with commas")
        options[key.strip()] = value.strip()
    return options


def load_class(path: Path, name: str) -> type[AgingProtocol]:
    """Class `name` of a Python file, which is run. Raises InputError that says what is wrong with file or class."""
    module = run_user_file(path, wanted="the class in it", example="'agewalk docs your-own-protocol'")
    cls = getattr(module, name, None)
    mine = [n for n, v in vars(module).items() if _is_protocol(v) and v.__module__ == module.__name__]
    if cls is None:
        found = f"it has {', '.join(mine)}" if mine else "it has no subclass of AgingProtocol"
        raise InputError(f"{path} has no class {name!r}", hint=found)
    if not _is_protocol(cls):
        raise InputError(
            f"{path}:{name} is not a protocol",
            hint="make it a subclass of agewalk.model.protocols.base.AgingProtocol",
        )
    protocol: type[AgingProtocol] = cls
    if not protocol.name:
        protocol.name = name
    return protocol


def _is_protocol(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, AgingProtocol) and value is not AgingProtocol
