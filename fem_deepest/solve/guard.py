"""Exceptions out of PETSc callbacks: petsc4py turns them into its own error, this turns them back."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

Result = TypeVar("Result")


class Guard:
    """Context of a PETSc solve; the first exception of a wrapped callback leaves it unchanged."""

    def __init__(self) -> None:
        self._raised: BaseException | None = None

    def wrap(self, callback: Callable[..., Result]) -> Callable[..., Result]:
        """The same callback, watched."""

        def watched(*arguments: object) -> Result:
            try:
                return callback(*arguments)
            except BaseException as error:
                self._raised = self._raised or error
                raise

        return watched

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self._raised is not None and error is not self._raised:
            raise self._raised from None
