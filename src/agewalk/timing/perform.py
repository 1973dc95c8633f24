"""A machine's operations, by name for the plain text and by effect for generators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import Parameter, signature
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agewalk.core.effects import Effect, Step
from agewalk.core.errors import ModelError
from agewalk.timing.operations import Processor

if TYPE_CHECKING:
    from agewalk.timing.machine import Machine


class Operations:
    """The operations of one machine.

    do: an operation for each effect class, by its name, and `perform(effect)`. run: until nobody is due any more.
    """

    def __init__(self, machine: Machine) -> None:
        self.do = ModuleType("do")  # the interpreter calls a module's functions fastest
        processor = Processor(machine)
        by_class = processor.by_class()
        self.run = partial(processor.run, self._read)
        performers = {cls: _performer(cls, operation) for cls, operation in by_class.items()}

        def perform(effect: Effect) -> Any:
            performer = performers.get(effect.__class__)
            if performer is None:
                raise ModelError(
                    f"the timed reading does not know {effect!r}", hint="a new effect needs a cost: see timing/rare.py"
                )
            return performer(effect)

        self.known = frozenset(by_class)
        vars(self.do).update({cls.__name__: operation for cls, operation in by_class.items()}, perform=perform)

    def _read(self, step: Step[Any]) -> Any:
        """Run a generator by performing each effect that it yields: the other way to read the same text."""
        send, perform = step.send, self.do.perform
        try:
            effect = send(None)
            while True:
                effect = send(perform(effect))
        except StopIteration as stop:
            return stop.value


def _performer(cls: type[Effect], operation: Callable[..., Any]) -> Callable[[Any], Any]:
    """Calls an operation with what an effect was made from."""
    parameters = list(signature(cls).parameters.values())
    names = [p.name for p in parameters]
    if not names:
        return lambda _: operation()
    get = attrgetter(*names)
    if parameters[0].kind is Parameter.VAR_POSITIONAL or len(names) == 1:
        return lambda effect: operation(get(effect))
    if parameters[-1].kind is Parameter.KEYWORD_ONLY:
        return lambda effect: operation(**dict(zip(names, get(effect), strict=True)))
    return lambda effect: operation(*get(effect))
