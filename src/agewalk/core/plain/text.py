"""Steps become functions: the rewriting of one module's syntax tree.

What is a step: a generator function whose return annotation is `Step[...]` or `Generator[Effect, ...]`. Generators that say
`Iterator` or `Iterable` are ordinary ones and stay. Everything that could change its meaning is refused, with file and line:

* a generator without a return annotation: nobody can tell what it is;
* `yield from name`: the step was made earlier, and in the plain text would have been performed earlier;
* `yield from` a function from a module that is not rewritten: it would come back as a generator that nobody runs;
* a bare `yield` that is ever reached; `yield` in a lambda.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Final, NewType, NoReturn, TypeAlias

from agewalk.core.errors import InputError
from agewalk.core.plain.calls import Callees
from agewalk.core.plain.inline import of_two, one_liners

DO: Final = "__do__"  # the global of a rewritten module that performs effects
_STEP: Final = ("Step", "Generator")
_ORDINARY: Final = ("Iterator", "Iterable", "AsyncIterator")
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Vocabulary:
    """effects: modules whose classes are effects. copied: new name of a module that is rewritten, None of one that is not.

    units: modules whose NewTypes mean nothing when the program runs: `Pfn(x)` is x, without the call.
    """

    effects: tuple[str, ...]
    copied: Callable[[str], str | None]
    units: tuple[str, ...] = ("agewalk.core.units",)


def plain_text(source: str | bytes, path: str, vocabulary: Vocabulary) -> ast.Module:
    """The rewritten tree of a module. Raises InputError, with file and line, for what has no plain reading."""
    tree = ast.parse(source, path)
    rewritten: ast.Module = _Rewriter(path, vocabulary, tree).visit(tree)
    return ast.fix_missing_locations(rewritten)


def _annotation(function: _Function) -> str | None:
    """The name of the return type, without its arguments."""
    node = function.returns
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _own(function: _Function) -> Iterator[ast.AST]:
    """All that is in a function but not inside what it defines."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo.extend(ast.iter_child_nodes(node))


class _Rewriter(ast.NodeTransformer):
    """One pass over a module."""

    def __init__(self, path: str, vocabulary: Vocabulary, tree: ast.Module) -> None:
        self._path = path
        self._vocabulary = vocabulary
        self._effects: dict[str, str] = {}  # name in this module -> effect class
        self._units: set[str] = set()
        self._callees = Callees(tree)
        self._foreign: set[str] = set()  # names of this module that come from modules that are not rewritten
        self._in_step = False
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
                self._note_from(node, node.module)
            elif isinstance(node, ast.Import):
                self._foreign.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        named = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        named |= {n.asname or n.name for n in ast.walk(tree) if isinstance(n, ast.alias)}
        self._builtins = {"min", "max"} - bound - named
        for name in bound:
            self._units.discard(name)
            self._callees.forget(name)
            self._effects.pop(name, None)  # means something else somewhere here: performed by its value, not its name
            self._foreign.discard(name)

    def _note_from(self, node: ast.ImportFrom, module: str) -> None:
        for alias in node.names:
            name = alias.asname or alias.name
            if module.startswith(self._vocabulary.effects):
                self._effects[name] = alias.name
            elif module in self._vocabulary.units and isinstance(getattr(import_module(module), alias.name), NewType):
                self._units.add(name)
            elif self._vocabulary.copied(module) or self._vocabulary.copied(f"{module}.{alias.name}"):
                self._callees.note(name, module, alias.name)
            else:
                self._foreign.add(name)

    def _refuse(self, node: ast.AST, what: str, hint: str) -> NoReturn:
        raise InputError(
            f"{self._path}, line {getattr(node, 'lineno', 1)}: {what}, so it has no plain reading", hint=hint
        )

    # --- imports ------------------------------------------------------------------------------------------------------

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        """A rewritten module takes its like from rewritten modules."""
        if node.level or node.module is None:
            return [node]
        copied = self._vocabulary.copied
        whole = copied(node.module)
        if whole is not None:
            return [ast.copy_location(ast.ImportFrom(whole, node.names, 0), node)]
        out: list[ast.stmt] = []
        for alias in node.names:
            renamed = copied(f"{node.module}.{alias.name}")
            module = node.module if renamed is None else renamed.rpartition(".")[0]
            out.append(ast.copy_location(ast.ImportFrom(module, [alias], 0), node))
        return out

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        """`import a.b as c` likewise."""
        for alias in node.names:
            renamed = self._vocabulary.copied(alias.name)
            if renamed is not None:
                if alias.asname is None:
                    self._refuse(
                        node,
                        f"`import {alias.name}` binds the original",
                        f"write `from {alias.name.rpartition('.')[0]} import {alias.name.rpartition('.')[2]}`",
                    )
                alias.name = renamed
        return node

    # --- functions ----------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A step is rewritten; another function is looked into for steps that it defines."""
        outer, self._in_step = self._in_step, False
        if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in _own(node)):
            kind = _annotation(node)
            if kind in _STEP:
                self._in_step = True
            elif kind not in _ORDINARY:
                self._refuse(
                    node,
                    f"the generator {node.name}() says {kind or 'nothing'} of what it returns",
                    "annotate a step of the kernel `-> Step[...]`, an ordinary generator `-> Iterator[...]`",
                )
        self.generic_visit(node)
        if self._in_step:
            self._drop_dead_yields(node)
        self._in_step = outer
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """The model knows no coroutines."""
        self._refuse(node, f"{node.name}() is a coroutine", "write a step: a generator with `-> Step[...]`")

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        """Looked into for nothing but a yield."""
        if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(node)):
            self._refuse(node, "a lambda yields", "give it a name: def ... -> Step[...]")
        return node

    def _drop_dead_yields(self, function: ast.FunctionDef) -> None:
        """`return x; yield` makes a generator of a function without effects; what follows a return is left out."""
        for node in (function, *_own(function)):
            for block in (getattr(node, "body", None), getattr(node, "orelse", None), getattr(node, "finalbody", None)):
                if isinstance(block, list):
                    for i, statement in enumerate(block):
                        if isinstance(statement, ast.Return | ast.Raise):
                            del block[i + 1 :]
                            break
        for node in _own(function):
            if isinstance(node, ast.Yield):
                self._refuse(node, "a `yield` without an effect", "yield an effect, or put it behind the return")

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A unit's name is left out; keywords become positions; a function of one line stands there itself."""
        self.generic_visit(node)
        if (
            isinstance(node.func, ast.Name)
            and node.func.id in self._units
            and len(node.args) == 1
            and not node.keywords
        ):
            return node.args[0]
        if node.keywords:
            self._callees.by_position(node)
        if isinstance(node.func, ast.Name) and node.func.id in self._builtins:
            return of_two(node) or node
        origin = self._callees.origin(node)
        line = origin and one_liners(origin[0]).get(origin[1])
        return (line and line.called(node)) or node

    # --- effects ------------------------------------------------------------------------------------------------------

    def visit_Yield(self, node: ast.Yield) -> ast.expr:
        """`yield Load(cell)`: a call of the operation that has the effect's name and takes the effect's arguments."""
        if not self._in_step or node.value is None:
            return node
        value = self.visit(node.value)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in self._effects:
            value.func = self._operation(self._effects[value.func.id], value.func)
            return value
        return ast.copy_location(ast.Call(self._operation("perform", node), [value], []), node)

    def _operation(self, name: str, at: ast.AST) -> ast.expr:
        do = ast.copy_location(ast.Name(DO, ast.Load()), at)
        return ast.copy_location(ast.Attribute(do, name, ast.Load()), at)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> ast.expr:
        """`yield from f(x)`: the call."""
        if not self._in_step:
            return node
        if isinstance(node.value, ast.Tuple) and not node.value.elts:
            return ast.copy_location(ast.Constant(None), node)
        self._check_made_here(node.value)
        return self.visit(node.value)  # type: ignore[no-any-return]

    def _check_made_here(self, value: ast.expr) -> None:
        """Is the step made where it is delegated to, by a function that is rewritten, too?"""
        if isinstance(value, ast.IfExp):
            self._check_made_here(value.body)
            self._check_made_here(value.orelse)
            return
        if not isinstance(value, ast.Call):
            self._refuse(
                value,
                f"`yield from {ast.unparse(value)}` delegates to what was made elsewhere",
                "call the step here: yield from f(x)",
            )
        root: ast.expr = value.func
        while isinstance(root, ast.Attribute | ast.Subscript | ast.Call):
            root = root.func if isinstance(root, ast.Call) else root.value
        if isinstance(root, ast.Name) and root.id in self._foreign:
            self._refuse(
                value,
                f"`{ast.unparse(value.func)}()` comes from a module that is not rewritten",
                "put steps of your own into the file that uses them",
            )
