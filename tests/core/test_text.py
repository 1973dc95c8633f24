"""Nothing that a file says is a command to what shows it: a terminal, a browser, a renderer, a compiler."""

import ast
import json
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hostile import NAMES as HOSTILE

from agewalk.core import text as t
from agewalk.core.errors import InputError

ANY = st.text(st.characters(), max_size=40)  # lone surrogates and control characters included


def test_control_characters_become_spaces() -> None:
    assert t.printable("a\x1b[31m\r\nb\x00é漢\u202e") == "a [31m  b é漢 "
    assert t.printable("a\nb\x07", keep="\n") == "a\nb "


@pytest.mark.parametrize(
    "hidden", "\u200b\u200d\u2066\u202e\u061c\ufeff\u00ad\u3164\ufe0f\ud800\ufffe\U000e0041\U000e0101"
)
def test_what_is_not_seen_becomes_a_space(hidden: str) -> None:
    assert t.printable(f"a{hidden}b") == "a b"


@given(ANY)
def test_html_holds_no_markup(name: str) -> None:
    assert not re.search(r"[<>\"']|&(?!(amp|lt|gt|quot|#x27);)", t.html(name))


@given(ANY)
def test_json_in_a_script_is_the_same_document_and_inert(name: str) -> None:
    written = t.script_json({"a": [name, {name: 1}]})
    assert not re.search("[<>&\u2028\u2029]", written)
    assert json.loads(written) == {"a": [t.printable(name), {t.printable(name): 1}]}


def test_a_template_is_filled_in_one_pass() -> None:
    assert t.filled("{{A}}-{{B}}", {"A": "{{B}}", "B": "{{A}}"}) == "{{B}}-{{A}}"
    with pytest.raises(KeyError):
        t.filled("{{C}}", {})


@given(ANY)
def test_mermaid_sees_no_syntax(name: str) -> None:
    assert not re.search(r"[<>\"%`{}\n]|#(?!\d+;)|(?<!\d);|->", t.mermaid(name))


@given(ANY)
def test_comments_and_docstrings_stay_closed(name: str) -> None:
    held = t.c_comment(f"{name}*/*/ /*")
    assert "*/" not in held
    assert "\n" not in held
    assert ast.literal_eval(f'"""{t.docstring(name)}"""') == t.printable(name).replace('"', "'")


@pytest.mark.parametrize("text", [*HOSTILE, "a\nb", "\x7f\x00\x1b", '"""', "\\u0041", "\u2028\U0001f600"])
def test_a_toml_string_is_the_text(text: str) -> None:
    assert tomllib.loads(f"a = {t.toml_string(text)}") == {"a": text}
    assert t.toml_string(text).isprintable()


def test_a_name_that_is_no_utf8_is_no_toml() -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        t.toml_string("a\udcff")
