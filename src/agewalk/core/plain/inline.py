"""Functions of one line, put in the place of their calls: `pte_young(entry)` becomes `entry & 32 != 0`.

A call costs more than such a line does. Only what means the same wherever it stands is put there: a module's function without
decorators, whose body is `return` and an expression of its parameters and of its module's constants; and only arguments whose
reading has no effects, those that the line needs twice being names. A constant is an integer that is named in capitals.
`min` and `max` of two are put there likewise: the interpreter makes a tuple for each such call.
"""

from __future__ import annotations

import ast
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final, NewType

from agewalk.core.plain.calls import all_parameters

_ARITHMETIC = (ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
_LOGIC = (ast.BoolOp, ast.Compare, ast.IfExp, ast.boolop, ast.cmpop)


@dataclass(frozen=True)
class OneLiner:
    """parameters: name -> how often the line uses it. defaults: of the last parameters."""

    parameters: dict[str, int]
    defaults: dict[str, ast.expr]
    line: ast.expr

    def called(self, call: ast.Call) -> ast.expr | None:
        """What the call comes to, None if it has to stay one."""
        if call.keywords or len(call.args) > len(self.parameters):
            return None
        given = {**self.defaults, **dict(zip(self.parameters, call.args, strict=False))}
        if given.keys() != self.parameters.keys():
            return None
        for name, uses in self.parameters.items():
            if not (isinstance(given[name], ast.Name | ast.Constant) if uses > 1 else _is_pure(given[name])):
                return None
        line: ast.expr = _Put(given).visit(deepcopy(self.line))
        for node in ast.walk(line):
            ast.copy_location(node, call)
        return line


_OF_TWO: Final[dict[str, type[ast.cmpop]]] = {"min": ast.Lt, "max": ast.Gt}


def of_two(call: ast.Call) -> ast.expr | None:
    """`min(a, b)` as the comparison that it makes, `b if b < a else a`; `max` likewise. None if the call has to stay one."""
    if not isinstance(call.func, ast.Name) or call.func.id not in _OF_TWO or call.keywords or len(call.args) != 2:
        return None
    if not all(_is_pure(a) for a in call.args):
        return None
    first, second = call.args
    line = ast.IfExp(ast.Compare(second, [_OF_TWO[call.func.id]()], [first]), deepcopy(second), deepcopy(first))
    for node in ast.walk(line):
        ast.copy_location(node, call)
    return line


@cache
def one_liners(module: ModuleType) -> dict[str, OneLiner]:
    """The functions of a module of the original that can stand in the place of their calls, by name."""
    path = getattr(module, "__file__", None)
    if path is None:
        return {}
    found: dict[str, OneLiner] = {}
    for node in ast.parse(Path(path).read_bytes(), path).body:
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            line = _line_of(node, module)
            if line is not None:
                found[node.name] = line
    return found


def _line_of(function: ast.FunctionDef, module: ModuleType) -> OneLiner | None:
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return None
    names = all_parameters(function)
    if names is None:
        return None
    a = function.args
    defaults = {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None}
    if a.defaults:
        defaults.update(
            (p.arg, d) for p, d in zip([*a.posonlyargs, *a.args][-len(a.defaults) :], a.defaults, strict=True)
        )
    if not all(isinstance(d, ast.Constant) for d in defaults.values()):
        return None
    try:
        line: ast.expr = _Closed(frozenset(names), module).visit(body[0].value)
    except _OpenError:
        return None
    uses = [n.id for n in ast.walk(line) if isinstance(n, ast.Name)]
    return OneLiner({name: uses.count(name) for name in names}, defaults, line)


class _OpenError(Exception):
    """The line means something only where it stands."""


class _Closed(ast.NodeTransformer):
    """Leaves nothing in an expression but parameters and numbers."""

    def __init__(self, parameters: frozenset[str], module: ModuleType) -> None:
        self._parameters = parameters
        self._module = module

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (*_ARITHMETIC, *_LOGIC, ast.Attribute, ast.Constant, ast.Load)):
            return super().generic_visit(node)
        raise _OpenError

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._parameters:
            return node
        value = getattr(self._module, node.id, None)
        if type(value) not in {int, bool} or not node.id.isupper():
            raise _OpenError
        return ast.Constant(value)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """A unit's name is left out; of a bit, `bool` is a comparison."""
        if not isinstance(node.func, ast.Name) or len(node.args) != 1 or node.keywords:
            raise _OpenError
        argument: ast.expr = self.visit(node.args[0])
        callee = getattr(self._module, node.func.id, None)
        if isinstance(callee, NewType):
            return argument
        if callee is None and node.func.id == "bool" and _is_bits(argument):
            return ast.Compare(argument, [ast.NotEq()], [ast.Constant(0)])
        raise _OpenError


def _is_bits(node: ast.expr) -> bool:
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.BitAnd):
        return False
    return any(isinstance(side, ast.Constant) and isinstance(side.value, int) for side in (node.left, node.right))


def _is_pure(node: ast.expr) -> bool:
    allowed = (*_ARITHMETIC, ast.Attribute, ast.Constant, ast.Name, ast.Load)
    return all(isinstance(n, allowed) for n in ast.walk(node))


class _Put(ast.NodeTransformer):
    """Arguments in the place of parameters."""

    def __init__(self, given: dict[str, ast.expr]) -> None:
        self._given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return deepcopy(self._given[node.id])
