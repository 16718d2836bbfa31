"""The ``fem-deepest`` command."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from mpi4py import MPI
from rich.console import Console
from rich.table import Table

from fem_deepest._ranks import Ending
from fem_deepest.cli.anneal import anneal
from fem_deepest.cli.export import counts, export, summary
from fem_deepest.cli.flow import flow
from fem_deepest.cli.generate import generate
from fem_deepest.cli.info import info, version
from fem_deepest.cli.plan import plan
from fem_deepest.cli.plan import summary as plan_summary
from fem_deepest.cli.plot import plot
from fem_deepest.cli.predict import predict
from fem_deepest.cli.progress import Printer
from fem_deepest.cli.ranks import warn
from fem_deepest.cli.sample import sample_posterior
from fem_deepest.cli.study import study
from fem_deepest.cli.train import train
from fem_deepest.errors import FemDeepestError

app = typer.Typer(
    name="fem-deepest",
    help="Deepest learning: networks of continuous depth. What follows '--' goes to PETSc.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_WIDE = 130  # letters of the table of a plan

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="run directory")]
Out = Annotated[Path | None, typer.Option(help="run directory; default: runs/NAME")]
Force = Annotated[bool, typer.Option("--force", help="write over a run directory in use")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="override a key")
]


def _version(wanted: bool) -> None:
    if wanted:
        if MPI.COMM_WORLD.rank == 0:
            print(f"fem-deepest {version()}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Options of the command itself."""


def _run(
    verb: Callable[..., Any], config: Path, *, settings: list[str] | None, **options: Any
) -> NoReturn:
    """Run a verb, rank 0 telling how it goes, and exit with its code."""
    warn()
    reporter = Printer() if MPI.COMM_WORLD.rank == 0 else None
    run = verb(config, settings=settings or (), reporter=reporter, **options)
    raise typer.Exit(run.exit_code)


@app.command("train")
def _train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="what to train, on what")],
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint")] = False,
    force: Force = False,
    settings: Settings = None,
) -> None:
    """Train a network; exit code 0 converged, 2 wrong input, 3 not converged, 4 numerical failure."""
    _run(train, config, out=out, resume=resume, force=force, settings=settings)


@app.command("anneal")
def _anneal(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="which system, what data")],
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the finished rungs")] = False,
    force: Force = False,
    settings: Settings = None,
) -> None:
    """Precision annealing over many starts: action levels of a dynamical system or of networks."""
    _run(anneal, config, out=out, resume=resume, force=force, settings=settings)


@app.command("flow")
def _flow(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="which equation, action or image; noise")
    ],
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint")] = False,
    force: Force = False,
    settings: Settings = None,
) -> None:
    """A flow with Q-Wiener noise: an SPDE, an action whose minima are sought, or an active contour.

    The section [equation], [action] or [contour] says which.
    """
    _run(flow, config, out=out, resume=resume, force=force, settings=settings)


@app.command("sample")
def _sample(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="which measure, what kernel")
    ],
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the kept chains")] = False,
    force: Force = False,
    settings: Settings = None,
) -> None:
    """Markov chains for exp(-A): bridges, posteriors of networks and paths, and predictions."""
    _run(sample_posterior, config, out=out, resume=resume, force=force, settings=settings)


@app.command("study")
def _study(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="which study, of what")],
    out: Out = None,
    force: Annotated[
        bool, typer.Option("--force", help="forget the points that are there already")
    ] = False,
    settings: Settings = None,
) -> None:
    """Convergence study or comparison of methods: tables and figures; kept points are not computed again.

    Exit code 0 converged as expected, 2 wrong input, 3 not as expected, 4 numerical failure.
    """
    _run(study, config, out=out, force=force, settings=settings)


@app.command("generate")
def _generate(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="a toy set, 'teacher', or a file to convert")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.h5", help="HDF5 file to write")],
    samples: Annotated[int, typer.Option(metavar="K", help="number of samples")] = 1000,
    features: Annotated[int, typer.Option(metavar="D", help="inputs of a teacher's set")] = 2,
    outputs: Annotated[
        int, typer.Option(metavar="M", help="classes or values of a teacher's set")
    ] = 2,
    noise: Annotated[
        float | None, typer.Option(help="standard deviation; default: that of the set")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of the generator")] = 0,
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="classification or regression: teacher, file")
    ] = "classification",
    target: Annotated[
        list[str] | None, typer.Option(help="target column or data set of a file")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option(help="input column or data set of a file")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="write over an existing file")] = False,
) -> None:
    """A synthetic data set of any size, or a file, written to HDF5 by all ranks."""
    made = generate(
        name,
        out=out,
        samples=samples,
        features=features,
        outputs=outputs,
        noise=noise,
        seed=seed,
        kind=kind,
        target=target,
        inputs=inputs,
        force=force,
    )
    if MPI.COMM_WORLD.rank == 0:
        print(made)


@app.command("predict")
def _predict(
    directory: Directory,
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV, NPZ or HDF5 file with the inputs")
    ],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; default: print")] = None,
    force: Annotated[bool, typer.Option("--force", help="write over an existing file")] = False,
) -> None:
    """Class and probabilities, or values, for every row of a file."""
    if MPI.COMM_WORLD.rank > 0:
        return
    header, rows = predict(directory, data, out=out, force=force)
    if out is None:
        for row in [header, *rows]:
            print(",".join(row))
    else:
        print(f"{len(rows)} rows written to {out}")


@app.command("export")
def _export(
    directory: Directory,
    layers: Annotated[
        int | None, typer.Option(metavar="L", help="layers; default: depth cells of the run")
    ] = None,
    neurons: Annotated[
        str | None,
        typer.Option(metavar="N", help="neurons, 64 or 16x16; default: those of the run"),
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="npz|torch|onnx", help="torch: a module and its weights")
    ] = "npz",
    precision: Annotated[
        str | None,
        typer.Option(metavar="single|double", help="default: double for npz, else single"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="file to write; default: DIR/network.npz, .py or .onnx")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="write over an existing file")] = False,
) -> None:
    """The trained field as an ordinary network of any depth, for PyTorch, ONNX or NumPy."""
    if MPI.COMM_WORLD.rank > 0:
        return
    found = export(
        directory,
        layers=layers,
        neurons=counts(neurons),
        format=format,
        precision=precision,
        out=out,
        force=force,
    )
    for line in summary(found):
        print(line)


@app.command("plan")
def _plan(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="what to train, on what")],
    ranks: Annotated[int, typer.Option(metavar="P", help="ranks to plan for")],
    node: Annotated[
        str,
        typer.Option(metavar="NAME|FILE|this", help="nodes: epyc, xeon, a TOML file, this host"),
    ] = "epyc",
    samples: Annotated[
        int | None, typer.Option(metavar="K", help="training samples; default: those of the data")
    ] = None,
    inputs: Annotated[int | None, typer.Option(help="numbers of an input, likewise")] = None,
    outputs: Annotated[int | None, typer.Option(help="numbers of an output, likewise")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the constants of the node")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write table.csv and scaling.png")
    ] = None,
    settings: Settings = None,
) -> None:
    """Time, memory and messages of a training on many ranks, predicted for every grid; the best one."""
    found = plan(
        config,
        ranks=ranks,
        node=node,
        samples=samples,
        inputs=inputs,
        outputs=outputs,
        settings=settings or (),
        save=save,
        out=out,
    )
    if MPI.COMM_WORLD.rank == 0:
        table, lines = plan_summary(found)
        console = Console(highlight=False)
        console.width = max(console.width, _WIDE)
        for line in lines[:2]:
            print(line)
        console.print(table)
        for line in lines[2:]:
            print(line)


@app.command("plot")
def _plot(directory: Directory) -> None:
    """Draw the figures of a run again."""
    if MPI.COMM_WORLD.rank == 0:
        for path in plot(directory):
            print(path)


@app.command("info")
def _info() -> None:
    """Versions, BLAS and its speed, MPI, PETSc packages, and what is missing."""
    values = info()
    if MPI.COMM_WORLD.rank > 0:
        return
    table = Table(show_header=False, box=None)
    for name, value in {**values.pop("versions"), **values}.items():
        if name != "advice":
            table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for line in values["advice"]:
        console.print(f"! {line}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit; an error on one rank ends all ranks, see :class:`.Ending`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--" in words:
        words = words[: words.index("--")]
    ending = Ending(MPI.COMM_WORLD)
    sys.exit(ending(*_call(words)))


def _call(words: list[str]) -> tuple[int, str]:
    """Exit code of the command with these words on this rank, and what went wrong."""
    try:
        code = app(words, standalone_mode=False, prog_name="fem-deepest")
        return (code if isinstance(code, int) else 0), ""
    except FemDeepestError as error:
        return error.exit_code, f"fem-deepest: {error}"
    except typer.Exit as request:
        return request.exit_code, ""
    except (typer.Abort, KeyboardInterrupt):
        return 130, "fem-deepest: interrupted"
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's own
            return 2, f"fem-deepest: {error.format_message()}"
        return 1, traceback.format_exc()
