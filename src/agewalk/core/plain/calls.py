"""Keyword arguments by position, where the function that is called is known.

The interpreter runs a call by position in place, and a call by keyword through its C interface: four times slower, and with a
deeper C stack, which greenlets copy at each switch.
"""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType, ModuleType


def loosen(function: ast.FunctionDef) -> tuple[str, ...]:
    """Let keyword-only parameters be given by position, too, if their defaults allow it. The parameters by position then."""
    a = function.args
    if _may_follow(a):
        a.args += a.kwonlyargs
        a.defaults += [d for d in a.kw_defaults if d is not None]
        a.kwonlyargs, a.kw_defaults = [], []
    return tuple(p.arg for p in (*a.posonlyargs, *a.args))


def all_parameters(function: ast.FunctionDef) -> tuple[str, ...] | None:
    """What `loosen` will make of a function, None if it takes any number of arguments or will keep keywords."""
    a = function.args
    if a.vararg is not None or a.kwarg is not None:
        return None
    names = [p.arg for p in (*a.posonlyargs, *a.args)]
    return (*names, *(p.arg for p in a.kwonlyargs)) if not a.kwonlyargs or _may_follow(a) else None


def _may_follow(a: ast.arguments) -> bool:
    """Can keyword-only parameters stand behind the others?"""
    count = len(a.posonlyargs) + len(a.args)
    optional = [n >= count - len(a.defaults) for n in range(count)] + [d is not None for d in a.kw_defaults]
    return a.vararg is None and optional == sorted(optional)


def parameters(function: object) -> tuple[str, ...]:
    """What `loosen` makes of a function of an original module; nothing for what is no plain function."""
    if not isinstance(function, FunctionType):
        return ()
    code = function.__code__
    count, only = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames[: count + only]
    given = function.__kwdefaults__ or {}
    first_default = count - len(function.__defaults__ or ())
    optional = [n >= first_default if n < count else names[n] in given for n in range(count + only)]
    varargs = bool(code.co_flags & 4)  # inspect.CO_VARARGS
    return names if not varargs and optional == sorted(optional) else names[:count]


class Callees:
    """The functions that a module's names stand for. of: what is known of a name or of a module's attribute."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions: dict[str, tuple[str, ...]] = {}
        self._modules: dict[str, ModuleType] = {}
        self._origins: dict[str, tuple[ModuleType, str]] = {}  # of imported functions: where, and under which name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names = loosen(node)
                if node in tree.body and not node.decorator_list:
                    self._functions[node.name] = names

    def note(self, name: str, module: str, attribute: str) -> None:
        """`from module import attribute as name`, of a module that is rewritten."""
        origin = import_module(module)
        if hasattr(origin, "__path__") and find_spec(f"{module}.{attribute}") is not None:
            import_module(f"{module}.{attribute}")
        value = getattr(origin, attribute, None)
        if isinstance(value, ModuleType):
            self._modules[name] = value
        elif isinstance(value, FunctionType) and value.__module__ == module:
            self._functions[name] = parameters(value)
            self._origins[name] = origin, attribute

    def forget(self, name: str) -> None:
        """The name means something else somewhere."""
        self._functions.pop(name, None)
        self._modules.pop(name, None)
        self._origins.pop(name, None)

    def origin(self, call: ast.Call) -> tuple[ModuleType, str] | None:
        """The other module that a called function comes from, and its name there."""
        if isinstance(call.func, ast.Name):
            return self._origins.get(call.func.id)
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            module = self._modules.get(call.func.value.id)
            return None if module is None else (module, call.func.attr)
        return None

    def by_position(self, call: ast.Call) -> None:
        """Turn keywords into positions, if they follow in order; arguments are evaluated in the same order, then."""
        names: tuple[str, ...] = ()
        if isinstance(call.func, ast.Name):
            names = self._functions.get(call.func.id, ())
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            module = self._modules.get(call.func.value.id)
            if module is not None:
                names = parameters(getattr(module, call.func.attr, None))
        given = len(call.args)
        if any(isinstance(a, ast.Starred) for a in call.args):
            return
        if names[given : given + len(call.keywords)] == tuple(k.arg for k in call.keywords):
            call.args += [k.value for k in call.keywords]
            call.keywords = []
