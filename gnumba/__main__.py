"""The command line: ``python -m gnumba``."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gnumba as gn

from . import _precompile
from ._cli import bench, contenders, demo

PICTURE = "gnumba-demo.png"
BENCHED: dict[str, Iterable[str]] = {
    "optimizer": contenders.OPTIMIZERS,
    "model": contenders.MODELS,
    "activation": contenders.ACTIVATIONS,
    "loss": contenders.LOSSES,
    "size": contenders.SIZES,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    try:
        try:
            return command(arguments)
        finally:
            sys.stdout.flush()  # a reader that has gone is noticed here, not at exit
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the rest may go
        return 1
    except KeyboardInterrupt:
        return 130


def command(arguments: Sequence[str] | None) -> int:
    """Do what the arguments say; wrong ones leave by ``SystemExit`` with status 2."""
    parser = make_parser()
    options = vars(parser.parse_args(arguments))
    run: Callable[..., int] | None = options.pop("run", None)
    if run is None:
        parser.print_help()
        return 0
    return run(**options)


def run_info() -> int:
    """Print what ``gnumba.info()`` knows, in two columns."""
    rows = list(rows_of(gn.info()))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}".rstrip())
    return 0


def rows_of(table: Mapping[str, Any], indent: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values; those of a table in the table follow its name, indented."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield indent + name, ""
            yield from rows_of(value, indent + "  ")
        else:
            yield indent + name, value


def run_demo(optimizer: str, out: Path, **options: Any) -> int:
    """Train on the digits with one optimizer or all."""
    if missing := demo.missing_packages():
        packages = ", ".join(missing)
        print(f'The demo needs {packages}, not installed here: pip install "gnumba[demo]"', file=sys.stderr)
        return 1
    names = list(demo.OPTIMIZERS) if optimizer == "all" else [optimizer]
    demo.run(names, demo.Options(**options), out)
    return 0


def run_bench(what: str, rounds: int, plot: Path | None, markdown: bool, **chosen: list[str]) -> int:
    """Measure steps, activations, losses or all of them: some of each kind or all."""
    if missing := demo.missing_packages():
        packages = ", ".join(missing)
        print(f'The bench needs {packages}, not installed here: pip install "gnumba[bench]"', file=sys.stderr)
        return 1
    names = {kind: list(BENCHED[kind]) if "all" in some else some for kind, some in chosen.items()}
    works = {
        "steps": contenders.steps(names["optimizer"], names["model"]),
        "activations": contenders.passes(names["activation"], names["size"]),
        "losses": contenders.losses(names["loss"], names["size"]),
    }
    asked = {kind.capitalize(): works[kind] for kind in works if what in ("all", kind)}
    bench.run(asked, rounds, plot, markdown)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m gnumba", description=gn.__doc__)
    parser.add_argument("--version", action="version", version=f"gnumba {gn.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="{demo,bench,info,precompile}")
    about = "train a small network on handwritten digits: a table, and a picture of the loss curves"
    add_demo_options(commands.add_parser("demo", help=about, description=about))
    about = "measure gnumba beside NumPy, and PyTorch and optax if installed, on this machine"
    add_bench_options(commands.add_parser("bench", help=about, description=about))
    about = "print versions, threads, SIMD width, CUDA and the cache folder"
    commands.add_parser("info", help=about, description=about).set_defaults(run=run_info)
    about = "compile kernels ahead of time, as for a container's image"
    add_precompile_options(
        commands.add_parser(
            "precompile",
            help=about,
            description=f"{about.capitalize()}. They are for this kind of CPU; numba's variables "
            "NUMBA_CPU_NAME and NUMBA_CPU_FEATURES choose another, here and when they are used.",
        )
    )
    return parser


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``demo``."""
    parser.set_defaults(run=run_demo)
    default, optimizers, activations = demo.Options(), ["all", *demo.OPTIMIZERS], [*demo.ACTIVATIONS]

    def add(option: str, default: Any, metavar: str, text: str, **how: Any) -> None:
        parser.add_argument(
            option, default=default, metavar=metavar, help=f"{text}; default: {default}", **how
        )

    add("--optimizer", "all", "NAME", ", ".join(optimizers), choices=optimizers)
    add("--activation", default.activation, "NAME", ", ".join(activations), choices=activations)
    add("--epochs", default.epochs, "N", "rounds over the images", type=whole_from(1))
    add("--batch-size", default.batch_size, "N", "images a step", type=whole_from(1))
    add(
        "--seed",
        default.seed,
        "N",
        "the first: of the split, the weights and the batches",
        type=whole_from(0),
    )
    add("--seeds", default.seeds, "N", "trials of each optimizer", type=whole_from(1))
    add("--out", PICTURE, "PATH", "the picture: a file that ends in .png, or a folder", type=picture)


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bench``."""
    parser.set_defaults(run=run_bench)
    add, kinds = parser.add_argument, ("all", "steps", "activations", "losses")
    add("what", nargs="?", default="all", choices=kinds, metavar="WHAT", help=", ".join(kinds))
    for kind, names in BENCHED.items():
        choices = ["all", *names]
        add(f"--{kind}", nargs="+", default=["all"], choices=choices, metavar="NAME", help="; ".join(choices))
    add("--rounds", type=whole_from(1), default=3, metavar="N", help="turns of each library; default: 3")
    to_plot = functools.partial(picture, name="gnumba-bench.png")
    add("--markdown", action="store_true", help="print the rows as in the README")
    add("--plot", type=to_plot, metavar="PATH", help="draw the ratios: a file that ends in .png, or a folder")


def add_precompile_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``precompile``."""
    parser.set_defaults(run=_precompile.run)

    def add(option: str, choices: Iterable[str], default: Sequence[str], text: str, **how: Any) -> None:
        parser.add_argument(
            option, nargs="*", choices=[*choices], default=[*default], metavar="NAME", help=text, **how
        )

    kinds = _precompile.KINDS
    names = f"kinds ({', '.join(kinds)}) or names of rules and activations; default: all"
    add("--only", [*kinds, *_precompile.NAMES], [*kinds], names, dest="names")
    dtypes, targets = ("float32", "float64"), ("cpu", "parallel", "cuda")
    add("--dtype", dtypes, dtypes, "float32, float64; default: both", dest="dtypes")
    add("--target", targets, targets[:2], "cpu, parallel, cuda; default: cpu parallel", dest="targets")


def whole_from(least: int) -> Callable[[str], int]:
    """Converter of an option's text to a whole number of at least ``least``."""

    def convert(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**32:
            raise argparse.ArgumentTypeError(
                f"got {text!r}, expected a whole number from {least} to {2**32 - 1}"
            )
        return int(text)

    return convert


def picture(text: str, name: str = PICTURE) -> Path:
    """The file to write, of a path to a PNG or a folder; refused now if it could not be written later."""
    path = Path(text) / name if os.path.isdir(text) else Path(text)
    if path.suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected a folder that exists, or a file that ends in .png"
        )
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"got {text!r}, but there is no folder {str(path.parent)!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"got {text!r}, where this user may not write")
    return path


if __name__ == "__main__":
    sys.exit(main())
