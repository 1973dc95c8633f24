"""TOML and JSON of other people's: whatever is wrong with a text, it is a ValueError that says so."""

import json
import tomllib
from typing import Any, Final

_DEEP: Final = "it is nested too deeply"
_DIGITS: Final = "a number in it has too many digits"


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML document; a byte-order mark at its start, which editors of Windows write, is none of it. Raises ValueError."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError(_DEEP) from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # int() takes a few thousand digits
        raise ValueError(_DIGITS) from None


def parse_json(text: str) -> Any:
    """A JSON document; a byte-order mark at its start is none of it. Raises ValueError (JSONDecodeError)."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError(_DEEP) from None
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise ValueError(_DIGITS) from None
