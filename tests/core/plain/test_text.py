"""What the rewriting makes of a step, and what it refuses."""

from __future__ import annotations

import ast

import pytest

from agewalk.core.errors import InputError
from agewalk.core.plain import Vocabulary, plain_text

VOCABULARY = Vocabulary(
    ("agewalk.core.effects",), lambda name: f"plain.{name[8:]}" if name.startswith("agewalk.model") else None
)
HEAD = "from agewalk.core.effects import Load, Step, Store\nfrom agewalk.model.mm import pte\nfrom elsewhere import helper\n"


def rewritten(source: str) -> str:
    return ast.unparse(plain_text(HEAD + source, "mine.py", VOCABULARY)).split("import helper\n")[1].strip()


def same(source: str, expected: str) -> None:
    assert rewritten(source) == ast.unparse(ast.parse(expected))


def test_an_effect_is_performed_where_it_was_yielded() -> None:
    same(
        "def f(a, b) -> Step[int]:\n    x = yield Load(a)\n    yield Store(b, (yield Load(a)) + x)\n    return x",
        "def f(a, b) -> Step[int]:\n    x = __do__.Load(a)\n    __do__.Store(b, __do__.Load(a) + x)\n    return x",
    )


def test_a_step_is_called() -> None:
    same(
        "def f(a) -> 'Step[int]':\n    if (yield from g(a)):\n        return (yield from (self.h(a) if a else pte.k(a)))",
        "def f(a) -> 'Step[int]':\n    if g(a):\n        return self.h(a) if a else pte.k(a)",
    )


def test_an_effect_that_is_a_value_is_performed_by_its_value() -> None:
    same("def f(e) -> Step[None]:\n    yield e", "def f(e) -> Step[None]:\n    __do__.perform(e)")
    same("def f(Load) -> Step[None]:\n    yield Load(1)", "def f(Load) -> Step[None]:\n    __do__.perform(Load(1))")


def test_steps_without_effects() -> None:
    same("def f() -> Step[bool]:\n    return False\n    yield", "def f() -> Step[bool]:\n    return False")
    same("def f() -> Step[None]:\n    yield from ()", "def f() -> Step[None]:\n    None")


def test_ordinary_generators_stay() -> None:
    source = "def f(n) -> Iterator[int]:\n    yield n\n    yield from g(n)"
    same(source, source)
    nested = "def f(n) -> Step[int]:\n    def inner() -> Iterator[int]:\n        yield n\n    return next(inner())\n    yield"
    same(nested, nested.removesuffix("\n    yield"))


def test_a_copy_imports_copies() -> None:
    tree = plain_text(HEAD + "import agewalk.model.mm.pte as p\n", "mine.py", VOCABULARY)
    assert ast.unparse(tree).splitlines()[3:] == [
        "from plain.model.mm import pte",
        "from elsewhere import helper",
        "import plain.model.mm.pte as p",
    ]


def test_keywords_become_positions_where_the_callee_is_known() -> None:
    same(
        "def g(a, *, b, c=1) -> int:\n    return a\n\ndef f() -> int:\n    return g(1, b=2) + g(1, b=2, c=3) + g(1, c=3, b=2)",
        "def g(a, b, c=1) -> int:\n    return a\n\ndef f() -> int:\n    return g(1, 2) + g(1, 2, 3) + g(1, c=3, b=2)",
    )
    same("def g(a=1, *, b) -> int:\n    return g(b=2)", "def g(a=1, *, b) -> int:\n    return g(b=2)")
    same("def g(*a, b) -> int:\n    return g(1, b=2)", "def g(*a, b) -> int:\n    return g(1, b=2)")
    same("x = helper(a=1)\ny = pte.make_pte(f(1), writable=True)", "x = helper(a=1)\ny = pte.make_pte(f(1), True)")


def test_min_and_max_of_two_are_comparisons() -> None:
    same("x = min(a, b.c) + max(2, y - 1)", "x = (b.c if b.c < a else a) + (y - 1 if y - 1 > 2 else 2)")
    for call in ("min(a)", "min(a, b, c)", "min(f(a), b)", "min(*a, b)", "max(a, b, key=c)", "max(a[0], b)"):
        same(f"x = {call}", f"x = {call}")
    for other in ("def min(a, b):\n    return a", "from elsewhere import min", "min = other"):
        same(f"{other}\nx = min(a, b)", f"{other}\nx = min(a, b)")


@pytest.mark.parametrize("call", ["min(a, b)", "max(a, b)"])
def test_of_two_that_are_equal_the_first_is_taken(call: str) -> None:
    for a, b in ((1, 2), (2, 1), (1, 1.0), (1.0, 1), (True, 1)):
        names = {"a": a, "b": b}
        expected, found = eval(call, names), eval(rewritten(call), names)
        assert (expected, type(expected)) == (found, type(found))


def test_units_are_left_out() -> None:
    same("from agewalk.core.units import Pfn\nx = Pfn(y + 1)", "from agewalk.core.units import Pfn\nx = y + 1")


def test_lines_are_those_of_the_source() -> None:
    tree = plain_text(HEAD + "\n\ndef f(a) -> Step[int]:\n    return (yield\n        Load(a))", "mine.py", VOCABULARY)
    calls = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call)]
    assert calls == [8]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(a):\n    yield Load(a)", r"mine\.py, line 4: the generator f\(\) says nothing of what it returns"),
        ("def f(a) -> int:\n    yield Load(a)", r"line 4: the generator f\(\) says int"),
        (
            "def f(a) -> Step[int]:\n    s = g(a)\n    return (yield from s)",
            r"line 6: `yield from s` delegates to what was",
        ),
        ("def f(a) -> Step[int]:\n    return (yield from helper(a))", r"line 5: `helper\(\)` comes from a module"),
        ("def f(a) -> Step[None]:\n    yield", r"line 5: a `yield` without an effect"),
        ("def f(a) -> Step[None]:\n    g = lambda: (yield Load(a))\n    yield from g()", r"line 5: a lambda yields"),
        ("async def f(a) -> Step[None]:\n    return 1", r"line 4: f\(\) is a coroutine"),
        ("import agewalk.model.mm.pte", r"line 4: `import agewalk.model.mm.pte` binds the original"),
    ],
)
def test_what_cannot_be_translated_is_refused(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rewritten(source)


def test_a_line_of_another_module_stands_in_the_place_of_its_call() -> None:
    same("x = pte.pte_pfn(entry)", "x = entry >> 12")
    head = "from agewalk.model.mm.pte import pte_young as young\n"
    same(head + "x = young(y)", head.replace("agewalk", "plain") + "x = y & 32 != 0")
    same(
        head + "def f(young) -> int:\n    return young(1)",
        head.replace("agewalk", "plain") + "def f(young) -> int:\n    return young(1)",
    )
