"""The configuration of a run: TOML into typed, frozen models that refuse unknown keys."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fem_deepest.errors import InputError

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Precision = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


_LONGEST_STEP = 1.0  # in depth, on the coarsest of the automatic levels


class Section(BaseModel):
    """Base of the sections."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)


Model = TypeVar("Model", bound=Section)


class Data(Section):
    """``[data]``: what is learnt from."""

    name: Literal["digits", "donut", "squares", "spiral", "peaks", "swiss_roll", "file"] = Field(
        default="digits", description="data set; `file` reads `path`"
    )
    path: str | None = Field(
        default=None, description="CSV or NPZ file, relative to the configuration"
    )
    kind: Literal["classification", "regression"] = Field(
        default="classification", description="what the targets of a file are"
    )
    target: str | int | list[str | int] | None = Field(
        default=None,
        description="target column(s) of a CSV file, by name or number from 1; default: last",
    )
    inputs: list[str | int] | None = Field(
        default=None, description="input columns; default: all others"
    )
    samples: Count = Field(default=1000, description="number of samples of a toy set")
    noise: Annotated[float, Field(ge=0.0)] | None = Field(
        default=None, description="noise of a toy set; default: its own"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of a toy set")
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.2, description="part kept for testing, stratified by class"
    )
    split_seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the split")
    standardise: bool | None = Field(
        default=None,
        description="scale inputs to mean 0, deviation 1 on the training part; default: files only",
    )

    @model_validator(mode="after")
    def _needs_path(self) -> Data:
        if (self.name == "file") != (self.path is not None):
            raise ValueError('path goes with name = "file", and only with it')
        return self


class NetworkSection(Section):
    """``[network]``: the dynamics ``x' = -a x + sigma(W_h x + b)`` and its discretisation."""

    neurons: Count = Field(default=64, description="`N`")
    index: Literal["points", "interval"] = Field(
        default="points",
        description="neuron index: points (`W_h = w`) or cells of (0,1) (`W_h = w/N`)",
    )
    depth: Positive = Field(default=2.0, description="`T`")
    cells: Count = Field(default=16, description="depth cells (layers) of the finest level")
    grading: Positive = Field(default=1.0, description="nodes `t_i = T (i/n)^g`")
    scheme: Literal["euler", "midpoint", "rk2", "rk4"] = Field(
        default="euler", description="depth scheme; `euler` is an ordinary residual network"
    )
    activation: Literal["tanh", "sigmoid", "softplus"] = Field(
        default="tanh", description="`sigma`"
    )
    sharpness: Positive = Field(default=10.0, description="`beta` of softplus, the smoothed ReLU")
    leak: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.0, description="`a`"
    )
    lift: Literal["pad", "linear"] = Field(
        default="pad",
        description="`x(0)`: inputs padded with zeros, or a trained linear map of them",
    )
    readout: Literal["linear", "observed"] = Field(
        default="linear", description="output: trained linear map of `x(T)`, or its first neurons"
    )
    start: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        default=0.5, description="start: one Gaussian matrix, entries of deviation start/sqrt(N)"
    )


class ActionSection(Section):
    """``[action]``: what is minimised."""

    loss: Literal["cross_entropy", "least_squares"] | None = Field(
        default=None, description="`Phi_T`; default by the kind of the data"
    )
    strength: Positive = Field(default=1e-4, alias="lambda", description="strength of the prior")
    kappa: Positive = Field(
        default=1.0, description="inverse correlation length of the prior in depth"
    )
    R_m: Positive = Field(default=1.0, description="precision of the measurements (least squares)")
    R_f: Precision = Field(
        default=inf, description="precision of the model; `inf` is ordinary training"
    )
    R_0: Precision = Field(default=inf, description="precision of the inputs; `inf` clamps them")


class Solve(Section):
    """``[solve]``: nested iteration in depth."""

    levels: Literal["auto"] | list[Count] = Field(
        default="auto",
        description="depth cells of the levels, ending with `cells`; auto: halved, steps at most 1",
    )
    tolerance: Positive = Field(
        default=1e-3, description="gradient of the last level, dual norm relative to the start"
    )
    loosening: Annotated[float, Field(ge=1.0, le=100.0)] = Field(
        default=1.2,
        description="a coarser level stops at this multiple of the next one's tolerance",
    )
    iterations: Count = Field(default=2000, description="most iterations of a level")
    memory: Count = Field(default=20, description="pairs the quasi-Newton method remembers")
    polish: bool = Field(default=False, description="Newton to a stationary point afterwards")
    polish_tolerance: Positive = Field(default=1e-8, description="as `tolerance`, for polish")
    polish_iterations: Count = Field(default=50, description="most Newton steps")


class Output(Section):
    """``[output]``: what is left behind."""

    directory: str | None = Field(
        default=None, description="run directory; default: runs/NAME of the file"
    )
    figures: bool = Field(default=True, description="write figures/")
    fields: bool = Field(default=True, description="write fields/ for ParaView")
    checkpoint_minutes: Annotated[float, Field(ge=0.0)] = Field(
        default=5.0, description="time between checkpoints"
    )


class Config(Section):
    """A run; see the sections."""

    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the start")
    data: Data = Data()
    network: NetworkSection = NetworkSection()
    action: ActionSection = ActionSection()
    solve: Solve = Solve()
    output: Output = Output()

    @model_validator(mode="after")
    def _levels_end_with_cells(self) -> Config:
        levels = self.solve.levels
        if levels != "auto" and (
            levels[-1:] != [self.network.cells] or levels != sorted(set(levels))
        ):
            raise ValueError(
                f"solve.levels = {levels} must increase and end with network.cells = "
                f"{self.network.cells}"
            )
        return self

    @property
    def depth_levels(self) -> list[int]:
        """Numbers of depth cells, coarse to fine."""
        if self.solve.levels != "auto":
            return list(self.solve.levels)
        levels, most = [self.network.cells], self.network.depth / _LONGEST_STEP
        while levels[0] % 2 == 0 and levels[0] > 2 and levels[0] // 2 >= most:
            levels.insert(0, levels[0] // 2)
        return levels


def load(source: str | Path | Mapping[str, Any] | Config, settings: Iterable[str] = ()) -> Config:
    """Read the configuration of a training.

    Args:
        source: TOML file, or a mapping of the same shape, or a configuration.
        settings: Overrides ``section.key=value``, the value in TOML syntax or a bare word.

    Raises:
        InputError: No such file, bad TOML, an unknown key (the nearest known one is named), or a
            value of the wrong type or range.

    Not collective.
    """
    return validate(Config, read(source, settings))


def read(
    source: str | Path | Mapping[str, Any] | Section, settings: Iterable[str] = ()
) -> dict[str, Any]:
    """Values of a configuration with the overrides put in, not validated; see :func:`load`."""
    folder: Path | None = None
    if isinstance(source, Section):
        values: dict[str, Any] = source.model_dump(by_alias=True, exclude_unset=True)
    elif isinstance(source, Mapping):
        values = {k: dict(v) if isinstance(v, Mapping) else v for k, v in source.items()}
    else:
        folder = Path(source).resolve().parent
        values = _read(Path(source))
    for setting in settings:
        _override(values, setting)
    for section in values.values():
        if (
            folder is not None
            and isinstance(section, dict)
            and isinstance(section.get("path"), str)
        ):
            section["path"] = str(folder / section["path"])
    return values


def validate(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The configuration of a verb; what is wrong with it becomes one sentence. See :func:`load`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(_sentence(error, model)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no configuration file {path}; give the path of a TOML file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the configuration {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None


def _override(values: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts) or len(parts) > 2:
        raise InputError(f"--set got '{setting}', expected section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in parts[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise InputError(f"--set got '{setting}', but {part} is no section")
    values[parts[-1]] = value


def _sentence(error: ValidationError, model: type[Section]) -> str:
    """The first problem as one sentence: where, what was got, what was expected."""
    problem = error.errors()[0]
    # A union adds the name of its member to the place, which says nothing to a user.
    place = [str(part) for part in problem["loc"]][:2]
    name = ".".join(place) or "the configuration"
    if problem["type"] == "extra_forbidden":
        section: Any = model
        for part in place[:-1]:
            section = section.model_fields[part].annotation
        known = [field.alias or key for key, field in section.model_fields.items()]
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.0)[0]
        return f"unknown key {name}; the nearest known key is '{near}' (known: {', '.join(known)})"
    if problem["type"] == "value_error":
        return f"{name}: {problem['ctx']['error']}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{name}: got {problem['input']!r}, but {message.replace('input ', 'it ')}"


def reference(model: type[Section] = Config) -> str:
    """Markdown table of all keys of a configuration, with defaults and meaning; for the README."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in model.model_fields.items():
        section: Any = field.annotation
        inner = section.model_fields if hasattr(section, "model_fields") else {"": field}
        for key, entry in inner.items():
            full = f"{name}.{entry.alias or key}" if key else name
            needed = entry.is_required()
            default = "" if needed or entry.default is None else str(entry.default)
            choices = _choices(entry.annotation)
            meaning = (entry.description or "") + (f" ({', '.join(choices)})" if choices else "")
            lines.append(
                f"| `{full}` | {default.lower() if isinstance(entry.default, bool) else default} "
                f"| {meaning} |"
            )
    return "\n".join(lines)


def _choices(annotation: Any) -> list[str]:
    """The words a key may have, if it is one of several."""
    found = [annotation, *get_args(annotation)]
    words = [w for a in found if get_origin(a) is Literal for w in get_args(a)]
    return [f"`{w}`" for w in words] if len(words) > 1 else []
