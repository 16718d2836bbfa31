"""The ways a run can end badly, one class for each exit code."""

from __future__ import annotations


class FemDeepestError(Exception):
    """Base of all errors of this package; carries the exit code of the command."""

    exit_code = 1


class InputError(FemDeepestError, ValueError):
    """The input is wrong: one sentence that says what was got, what was expected, how to mend it."""

    exit_code = 2


class NotConverged(FemDeepestError):
    """A solver stopped before its tolerance; the results are written and flagged."""

    exit_code = 3


class NumericalFailure(FemDeepestError):
    """The action or its gradient is not a finite number; the last good iterate is kept."""

    exit_code = 4


class Interrupted(FemDeepestError):
    """The run was asked to stop (Ctrl-C, or a signal of a batch system); a checkpoint was written."""

    exit_code = 130
