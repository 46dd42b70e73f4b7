"""The command `tympan`: parses the command line and runs one subcommand.

Every subcommand has one function in COMMANDS that adds its parser. Subcommands import their code when they run,
because Playwright and numpy take longer to import than the other commands take to finish.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from cli import chromium, shader, site
from cli.benchmarks import BACKENDS, add_benchmarks
from cli.errors import CommandError
from cli.server import DEFAULT_PORT, serve_forever
from tympan.errors import TympanError

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[Any]"

FAILURE = 1
INTERRUPTED = 130  # as shells report SIGINT

EPILOG = f"""\
environment:
  {chromium.ENVIRONMENT_VARIABLE}  path of the browser, if it is not on the PATH
  {site.ENVIRONMENT_VARIABLE}      folder of a built site to use instead of building dist/

Run 'tympan COMMAND --help' for the options of a command.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 on success, 1 on failure. Exits with status 2 on a usage error."""
    options = _parser().parse_args(_with_explicit_trace(sys.argv[1:] if arguments is None else arguments))
    try:
        return 0 if options.run(options) else FAILURE
    except (CommandError, TympanError) as error:
        print(f"tympan: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED


def _with_explicit_trace(arguments: Sequence[str]) -> list[str]:
    """Replace `--trace FILE` by `--trace=1 FILE`; argparse would take the file name for the value of the option."""
    return [
        "--trace=1" if argument == "--trace" and following != "logits" else argument
        for argument, following in zip_longest(arguments, arguments[1:])
    ]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print usage errors as one line, without the usage text."""
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tympan",
        description="Speech-to-text that runs entirely inside a web page.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tympan {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    return parser


def _version() -> str:
    try:
        return version("tympan")
    except PackageNotFoundError:  # a checkout that is run without being installed
        return "(not installed)"


def _add_build(commands: Commands) -> None:
    command = commands.add_parser("build", help="build the static site into dist/")
    command.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> bool:
    site.build(site.DIST)
    return True


def _add_serve(commands: Commands) -> None:
    command = commands.add_parser("serve", help="build the site and serve it on this machine")
    command.add_argument("--port", type=int, default=DEFAULT_PORT, help="TCP port (default: %(default)s)")
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> bool:
    serve_forever(site.prepare(), options.port)
    return True


def _add_transcribe(commands: Commands) -> None:
    command = commands.add_parser("transcribe", help="transcribe audio files in a headless browser")
    command.description = "Transcribe audio files in any format that the browser decodes, and print the transcripts."
    command.add_argument("files", metavar="FILE", type=Path, nargs="+", help="audio or video file")
    command.add_argument(
        "--format",
        default="txt",
        choices=("txt", "srt", "vtt", "json"),
        help="output format; srt and vtt take one file (default: %(default)s)",
    )
    command.add_argument(
        "--model", default="", help="catalogue id, model directory or URL of one (default: the demo model)"
    )
    command.add_argument(
        "--backend", default="auto", choices=BACKENDS, help="implementation of the transformer (default: %(default)s)"
    )
    command.add_argument(
        "--trace",
        default="",
        choices=("1", "logits"),
        metavar="[logits]",
        help="with --format json: also print codes and tokens of every frame, and with 'logits' the logits",
    )
    command.set_defaults(run=_transcribe)


def _transcribe(options: argparse.Namespace) -> bool:
    from cli.transcribe import Options, transcribe

    return transcribe(options.files, Options(options.format, options.model, options.backend, options.trace))


def _add_quantize(commands: Commands) -> None:
    command = commands.add_parser("quantize", help="convert an official checkpoint into a model directory")
    command.description = (
        "Convert an official checkpoint (config.json, the safetensors of the transformer and of Mimi, the "
        "SentencePiece model) into a model directory that the page loads."
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="checkpoint directory, or repository on the Hugging Face Hub such as kyutai/stt-1b-en_fr",
    )
    command.add_argument("dest", metavar="DEST", type=Path, help="model directory to write")
    command.add_argument("--verify", action="store_true", help="write nothing; read DEST and verify every file in it")
    command.add_argument(
        "--mimi",
        default="as-is",
        choices=("as-is", "f16"),
        help="format of Mimi's weights; f16 keeps the codebooks as they are (default: %(default)s)",
    )
    command.add_argument(
        "--format",
        default="q4_0",
        choices=("q4_0", "f32"),
        help="format of the transformer's matrices (default: %(default)s)",
    )
    command.add_argument(
        "--embeddings",
        choices=("q4", "q8", "f32"),
        help="format of the transformer's embedding tables (default: that of --format)",
    )
    command.set_defaults(run=_quantize, refuse=command.error)


def _quantize(options: argparse.Namespace) -> bool:
    from quantize import repository
    from quantize.convert import quantize
    from quantize.verify import verify

    if options.verify:
        manifest = asyncio.run(verify(options.dest))
        print(f"{options.dest}: {manifest.title}, {manifest.n_bytes:,} bytes, verified.")
        return True
    if options.source is None:
        options.refuse("the following arguments are required: SOURCE and DEST")
    is_repository = repository.is_repository(options.source)
    source = repository.fetch(options.source) if is_repository else Path(options.source)
    quantize(source, options.dest, options.format, mimi_format=options.mimi, embeddings=options.embeddings)
    return True


def _add_inspect(commands: Commands) -> None:
    command = commands.add_parser("inspect", help="list the tensors of a model directory or a file")
    command.add_argument("model", metavar="MODEL", type=Path, help="model directory, safetensors file or GGUF file")
    command.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> bool:
    from quantize.inspect import inspect

    for line in inspect(options.model):
        print(line)
    return True


def _add_shader(commands: Commands) -> None:
    shader.add_arguments(commands.add_parser("shader", help="print a composed WGSL shader with its source lines"))


def _add_bench(commands: Commands) -> None:
    command = commands.add_parser("bench", help="measure the speed or accuracy of one part in a headless browser")
    benchmarks = command.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    add_benchmarks(benchmarks)


COMMANDS: tuple[Callable[[Commands], None], ...] = (
    _add_build,
    _add_serve,
    _add_transcribe,
    _add_quantize,
    _add_inspect,
    _add_shader,
    _add_bench,
)

if __name__ == "__main__":
    sys.exit(main())
