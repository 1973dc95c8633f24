"""Modules imported a second time, as plain text."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from types import CodeType, ModuleType
from typing import Any

from agewalk.core.plain.stored import kept
from agewalk.core.plain.text import DO, Vocabulary, plain_text


class PlainCopy(MetaPathFinder):
    """Modules of a package and all below them, rewritten, under the name of another top-level package.

        timed = PlainCopy("agewalk_timed", of=("agewalk.model", "agewalk.timing.bodies"), effects=("agewalk.core.effects",))
        timed.module("agewalk.timing.bodies").populate(world, vcpu)  # performs `do.Load(...)` and so on

    A module that is imported by a rewritten one is rewritten if `of` names it, and shared if not. Classes of the copy are not
    those of the original: whoever runs the copy builds its world from the copy alone.

    keep: are compiled modules kept for the next process (`stored.py`)? Not if somebody meddles with the rewriting.
    do: performs effects; an attribute for each effect class, called with the arguments of the class, and `perform(effect)`.
    """

    def __init__(self, name: str, *, of: tuple[str, ...], effects: tuple[str, ...], keep: bool = False) -> None:
        self.name = name
        self.keep = keep
        self.about = repr((of, effects))  # what of the copy itself decides how a module is rewritten
        self.of = of
        self.do = ModuleType("do")  # the interpreter calls a module's functions fastest
        self.vocabulary = Vocabulary(effects, self.renamed)
        sys.modules.pop(name, None)
        sys.meta_path.insert(0, self)

    def renamed(self, module: str) -> str | None:
        """The name that a module of the original has in the copy, None if it is shared."""
        if any(module == root or module.startswith(root + ".") for root in self.of):
            return self.name + module[module.index(".") :]
        return None

    def module(self, name: str) -> ModuleType:
        """The copy of module `name`."""
        renamed = self.renamed(name)
        if renamed is None:
            raise ImportError(f"{name} is not among {', '.join(self.of)}")
        return importlib.import_module(renamed)

    @contextmanager
    def performed_by(self, do: ModuleType) -> Iterator[None]:
        """While this lasts, calls of the copy's steps are performed by `do`."""
        before = dict(vars(self.do))
        vars(self.do).update(vars(do))
        try:
            yield
        finally:
            vars(self.do).clear()
            vars(self.do).update(before)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system asks; only for names below the copy's."""
        head, _, rest = fullname.partition(".")
        if head != self.name:
            return None
        package = self.of[0].partition(".")[0]
        original = find_spec(f"{package}.{rest}" if rest else package)
        if original is None or original.origin is None:
            return None
        if self.renamed(original.name) is None:  # a package on the way to a copied module: a name, nothing else
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        return self.file_spec(fullname, original.origin, original.submodule_search_locations)

    def file_spec(self, name: str, path: str, below: Sequence[str] | None = None) -> ModuleSpec | None:
        """How to import any file as part of the copy: a user's own."""
        return spec_from_file_location(
            name, path, loader=_PlainLoader(name, path, self), submodule_search_locations=list(below) if below else None
        )


class _PlainLoader(SourceFileLoader):
    """Rewrites what it loads. The bytecode cache beside a source file is that of the original: the copy's is kept elsewhere."""

    def __init__(self, name: str, path: str, copy: PlainCopy) -> None:
        super().__init__(name, path)
        self.copy = copy

    def get_code(self, fullname: str) -> Any:
        """From the source, or as it was kept from the same sources."""
        path = self.get_filename(fullname)
        source = self.get_data(path)

        def make() -> CodeType:
            tree = plain_text(source, path, self.copy.vocabulary)
            return compile(tree, path, "exec", dont_inherit=True)

        return kept(fullname, path, source, self.copy.about, make) if self.copy.keep else make()

    def exec_module(self, module: ModuleType) -> None:
        """With what performs its effects."""
        setattr(module, DO, self.copy.do)
        super().exec_module(module)


def copy_of(module: str) -> PlainCopy | None:
    """The copy that a module belongs to, None if it is an original."""
    loader = getattr(sys.modules[module], "__loader__", None)
    return loader.copy if isinstance(loader, _PlainLoader) else None
