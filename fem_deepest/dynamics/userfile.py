"""Dynamics out of a Python file of the user's.

Nothing here is collective: every rank reads the file.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fem_deepest.dynamics.byhand import ByHand, check
from fem_deepest.dynamics.named import Named
from fem_deepest.dynamics.symbolic import Symbolic
from fem_deepest.errors import InputError

_OWED = ("name", "states", "parameters", "value", "jacobian", "curvature")


def load_dynamics(path: str | Path, name: str = "system", states: int | None = None) -> Named:
    """The system that a file calls ``name``, its derivatives checked.

    Args:
        path: Python file; it may import what lies beside it.
        name: Of an object in it, or of a function that makes one: a
            :class:`fem_deepest.dynamics.byhand.ByHand` (NumPy with derivatives), a
            :class:`fem_deepest.dynamics.symbolic.Symbolic` (UFL), any other object that is a
            :class:`fem_deepest.dynamics.dynamics.Dynamics`, or one of these in a
            :class:`fem_deepest.dynamics.named.Named`, which adds typical parameters and a start.
        states: Handed to the function, if it takes an argument.

    Raises:
        InputError: The file cannot be run, has no such object, or a derivative is wrong.
    """
    found = _call(path, name, getattr(_module(path, name), name), states)
    system = found if isinstance(found, Named) else Named(found)
    dynamics = system.dynamics
    missing = [owed for owed in _OWED if not hasattr(dynamics, owed)]
    if missing:
        raise InputError(
            f"{name} in {path} is a {type(dynamics).__name__} without {', '.join(missing)}; make it a "
            "ByHand (NumPy with derivatives) or a Symbolic (UFL)"
        )
    if states is not None and states != dynamics.states:
        raise InputError(
            f"{name} in {path} has {dynamics.states} states, got dynamics.states = {states}; leave it "
            "out"
        )
    d, p = dynamics.states, len(dynamics.parameters)
    x = np.zeros(d) if system.start is None else np.asarray(system.start, dtype=np.float64)
    w = np.zeros(p) if system.typical is None else np.asarray(system.typical, dtype=np.float64)
    # ByHand has been checked where the user said, and UFL makes no mistakes.
    if not isinstance(dynamics, ByHand | Symbolic):
        _guarded(path, name, lambda: check(dynamics, x, w))
    elif x.shape != (d,) or w.shape != (p,):
        raise InputError(
            f"{name} in {path} has a start of shape {x.shape} and typical parameters of shape "
            f"{w.shape}, expected ({d},) and ({p},)"
        )
    return system


def _module(path: str | Path, name: str) -> Any:
    file = Path(path)
    if not file.is_file():
        raise InputError(f"there is no file {path} with the dynamics; correct dynamics.path")
    spec = importlib.util.spec_from_file_location(f"_dynamics_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file; give the dynamics in a file NAME.py")
    module, folder = importlib.util.module_from_spec(spec), str(file.resolve().parent)
    sys.path.insert(0, folder)
    try:
        _guarded(path, name, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
    finally:
        sys.path.remove(folder)
    if not hasattr(module, name):
        own = [
            n for n, v in vars(module).items() if not n.startswith("_") and not _foreign(v, module)
        ]
        raise InputError(
            f"{path} has nothing called {name}; name one of its objects ({', '.join(own) or 'none'}) "
            "with dynamics.object"
        )
    return module


def _foreign(value: Any, module: Any) -> bool:
    """Whether it has been imported, as far as one can see."""
    return inspect.ismodule(value) or (
        getattr(value, "__module__", "") != module.__name__
        and (inspect.isclass(value) or inspect.isfunction(value))
    )


def _call(path: str | Path, name: str, found: Any, states: int | None) -> Any:
    """The object itself, or what the function makes of ``states``."""
    if not (inspect.isfunction(found) or inspect.isclass(found)):
        return found
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes = [p for p in inspect.signature(found).parameters.values() if p.kind in kinds]
    if states is None and takes and takes[0].default is inspect.Parameter.empty:
        raise InputError(f"{name} in {path} takes the number of states; give dynamics.states")
    arguments = [states] if takes and states is not None else []
    return _guarded(path, name, lambda: found(*arguments))


def _guarded(path: str | Path, name: str, work: Any) -> Any:
    """What the user's code returns; what it raises becomes one sentence."""
    try:
        return work()
    except InputError as error:
        raise InputError(f"{name} in {path}: {error}") from None
    except Exception as error:  # whatever a user's file may do
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{name} in {path} cannot be used ({told}); run the file alone") from error
