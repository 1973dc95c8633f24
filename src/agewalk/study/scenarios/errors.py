"""What is wrong with a scenario, in the words of the file: pydantic's first problem as a `ScenarioError`."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from agewalk.core.errors import InputError, ScenarioError

SEVERAL: Final = ("vm", "process")  # tables of which there may be more than one


def explained(
    name: str, error: ValidationError, sections: Mapping[str, type[BaseModel]], inside: str = ""
) -> ScenarioError:
    """The first problem of pydantic's list. name: what the message begins with. sections: models by the key of their table.
    inside: key of the table that was validated."""
    problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a typo explains a missing key
    parts = [str(part) for part in problem["loc"]]
    key = inside
    for part in parts:
        key += f"[{part}]" if part.isdigit() else f".{part}" if key else part
    section = re.sub(r"\[\d+\]", "", key.rpartition(".")[0])
    kind = problem["type"]
    value = problem.get("input")
    known = sections.get(section)
    if kind == "extra_forbidden":
        names = [field.alias or label for label, field in known.model_fields.items()] if known else []
        return ScenarioError(f"{name}: unknown key '{key}'", hint=_nearest(parts[-1], names))
    if kind == "missing":
        near = difflib.get_close_matches(parts[-1], value, n=1, cutoff=0.5) if isinstance(value, dict) else []
        where = f"[{section or parts[0]}] needs it; see 'agewalk docs compare'"
        hint = f"did you write {near[0]!r} for it?" if near else where
        return ScenarioError(f"{name}: '{key}' is missing", hint=hint)
    if kind == "literal_error":
        if key == "schema":
            return ScenarioError(f"{name}: schema is {value!r}; this agewalk reads schema 1", hint="write schema = 1")
        return ScenarioError(f"{name}: {key} = {value!r} is unknown", hint=f"one of {problem['ctx']['expected']}")
    if table := _table(name, key, kind, value):
        return table
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return ScenarioError(f"{name}: {key}: {cause}", hint=cause.hint)
    if cause is not None:
        return ScenarioError(f"{name}: {key}: {cause}", hint="'agewalk docs compare' lists the keys with their units")
    said = problem["msg"][:1].lower() + problem["msg"][1:]
    return ScenarioError(
        f"{name}: {key} = {value!r}: {said}", hint="'agewalk docs compare' lists the keys and their types"
    )


def _nearest(word: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(names)}"


def _table(name: str, key: str, kind: str, value: Any) -> ScenarioError | None:
    """A table that should be one of several, or the other way round, or no table at all."""
    last = key.rpartition(".")[2]
    if kind == "list_type" and key in SEVERAL:
        what = f"[{key}] is one table" if isinstance(value, dict) else f"{key} = {value!r} is no table"
        return ScenarioError(f"{name}: {what}; there may be several", hint=f"write [[{key}]], with two brackets")
    if kind == "list_type":
        return ScenarioError(f"{name}: {key} = {value!r} is not a list", hint=f"write {last} = [...]")
    if kind not in {"model_type", "model_attributes_type"}:
        return None
    if key.startswith("compare.protocols["):
        return ScenarioError(
            f"{name}: {key} = {value!r} is not a protocol",
            hint='write a name, such as "v7", or a table: { name = "houghton", must_check = "rmaps" }',
        )
    if isinstance(value, list) and not last.endswith("]"):
        return ScenarioError(f"{name}: [[{key}]] may be there only once", hint=f"write [{key}], with one bracket")
    wanted = re.sub(r"\[\d+\]", "", key)
    wanted = f"[[{wanted}]]" if wanted in SEVERAL else f"[{wanted}]"
    return ScenarioError(f"{name}: {key} = {value!r} is not a table", hint=f"write {wanted}, and its keys below")
