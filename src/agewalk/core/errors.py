"""Every error that agewalk raises on purpose.

    AgewalkError
    ├── UsageError (ValueError)         2  the command or call makes no sense
    ├── InputError (ValueError)         2  a file or a value in it is bad
    │   ├── TraceError
    │   ├── ScenarioError
    │   └── WitnessError
    ├── MissingError (RuntimeError)     3  something this machine lacks; says how to get it
    ├── ModelError (RuntimeError)      70  the model broke one of its own rules: a bug, or a seeded fault
    └── Interrupted (Exception)       130  stopped by the user; says what was kept

An error says what happened (`str(e)`), and, in `hint`, the likely cause and what to do next.
`agewalk.cli.outcome` is the only place that turns one into an exit code. 1 is none of them: it means a verdict.
"""


class AgewalkError(Exception):
    """Root of agewalk's errors; `exit_code` is what the command line ends with."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(AgewalkError, ValueError):
    """The command line or call contradicts itself or names something that does not exist."""

    exit_code = 2


class InputError(AgewalkError, ValueError):
    """A file cannot be used as it is."""

    exit_code = 2


class TraceError(InputError):
    """A trace breaks the format; names file, column and row where there are any."""


class ScenarioError(InputError):
    """A scenario file breaks the format; names the key."""


class WitnessError(InputError):
    """A witness file breaks the format; names the step."""


class MissingError(AgewalkError, RuntimeError):
    """This machine lacks a program, a permission or a kernel interface."""

    exit_code = 3


class ModelError(AgewalkError, RuntimeError):
    """The model broke a rule of its own: a lock held twice, memory used after free, a WARN_ON hit."""


class Interrupted(AgewalkError):
    """Stopped by the user; the message says what is kept."""

    exit_code = 130
