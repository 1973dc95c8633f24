"""The generators of a thread: which of them is resumed, and what happens when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agewalk.timing.threads import Generating, Thread

try:
    import cython
except ImportError:  # the interpreter needs none
    from types import SimpleNamespace

    cython = SimpleNamespace(compiled=False)

DEEPEN: Final = 16  # effects after which a thread looks for its innermost generators again


send: Callable[[Thread, Generating], Any]  # of the .pxd: `resume` in C, where a return is no exception


def resume(th: Thread, step: Generating) -> Any:
    """Send `th.value` to a generator: the effect that it yields. None: it has returned, and `th.value` is what it returned."""
    if cython.compiled:
        return send(th, step)  # noqa: F821 - in the .pxd
    try:
        return step.send(th.value)
    except StopIteration as stop:
        th.value = stop.value
        return None


def advance(th: Thread) -> Any:
    """The next effect of a thread; `th.value` answers its last one. None at the thread's end. Raises what no generator caught."""
    try:
        effect = resume(th, th.resumed)
        return returned(th) if effect is None else effect
    except BaseException as error:
        return raised(th, error)


def deepen(th: Thread) -> None:
    """Resume an inner generator instead of the outermost one.

    A `yield from` chain hands every effect through each generator. Resuming a generator near the end of the chain saves that;
    `returned` and `unwind` give its outer generator the result.
    """
    th.until_deeper = DEEPEN
    step = inner = th.step
    while True:
        below = getattr(inner, "gi_yieldfrom", None)
        if below is None:
            break
        if inner is not step:
            th.outer.append(step)
            step = inner
        inner = below
    th.step = th.resumed = step


def returned(th: Thread) -> Any:
    """The resumed generator has returned `th.value`. Answers the next effect, None at the thread's end."""
    effect: Any = None
    while effect is None:
        if th.slow_path is not None:
            th.slow_path = None
            th.resumed = th.step
        elif not th.outer:
            th.result = th.value
            return None
        else:
            th.step = th.resumed = th.outer.pop()
            if th.value is not None:
                return throw(th, StopIteration(th.value))
            # Its `yield from` asks the generator that has returned, which answers None again.
        effect = resume(th, th.resumed)
    return effect


def raised(th: Thread, error: BaseException) -> Any:
    """The resumed generator has raised an exception: throw it into the one around it. Answers the next effect, None at the
    thread's end. Raises what no generator caught."""
    while True:
        if th.slow_path is not None:
            th.slow_path = None
        elif th.outer:
            th.step = th.outer.pop()
        else:
            raise error
        th.resumed = th.step
        try:
            return throw(th, error)
        except BaseException as next_error:
            error = next_error


def throw(th: Thread, error: BaseException) -> Any:
    """Throw an exception into the resumed generator. Answers the next effect, None at the thread's end.

    Its `yield from` passes the exception on to the generator that has ended, which raises it again; a StopIteration then is the
    result of that `yield from` (PEP 380).
    """
    try:
        return th.resumed.throw(error)
    except StopIteration as stop:
        th.value = stop.value
    return returned(th)


def blame(th: Thread, error: BaseException) -> None:
    """Raise the error of an effect where a generator yielded that effect, so that the traceback names its line."""
    try:
        throw(th, error)
    except BaseException as answer:
        raised(th, answer)
    raise error
