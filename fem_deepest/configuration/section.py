"""Sections of configurations: TOML into typed, frozen models that refuse unknown keys."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fem_deepest.errors import InputError

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Precision = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of the sections."""

    # Validators are built at the first use: a command needs few of all the models that are imported.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, strict=True, defer_build=True
    )


Model = TypeVar("Model", bound=Section)


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
        if folder is None or not isinstance(section, dict):
            continue
        for key in ("path", "mesh", "depth_mesh"):
            if isinstance(section.get(key), str):
                section[key] = str(folder / section[key])
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


def reference(model: type[Section]) -> str:
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
