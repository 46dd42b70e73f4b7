"""The command `tympan`: parses the command line and runs one subcommand.

Every subcommand has one function in COMMANDS that adds its parser. Subcommands import their code when they run,
because Playwright and numpy take longer to import than the other commands take to finish.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from tympan.cli import chromium, firefox, shader, site
from tympan.cli.benchmarks import BACKENDS, BROWSERS, MIMI, add_benchmarks
from tympan.cli.errors import CommandError
from tympan.cli.server import DEFAULT_PORT, serve_forever
from tympan.errors import TympanError

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[Any]"

FAILURE = 1
INTERRUPTED = 130  # as shells report SIGINT
PIPE_CLOSED = 141  # as shells report SIGPIPE

EPILOG = f"""\
environment:
  {chromium.ENVIRONMENT_VARIABLE}  path of Chromium, Chrome or Edge, if it is not on the PATH
  {firefox.ENVIRONMENT_VARIABLE}   path of Firefox, likewise
  {site.ENVIRONMENT_VARIABLE}      folder of a built site to use instead of the installed one or dist/

Run 'tympan COMMAND --help' for the options of a command.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 on success, 1 on failure. Exits with status 2 on a usage error."""
    options = _parser().parse_args(_with_explicit_trace(sys.argv[1:] if arguments is None else arguments))
    try:
        succeeded = options.run(options)
        sys.stdout.flush()
        return 0 if succeeded else FAILURE
    except (CommandError, TympanError) as error:
        print(f"tympan: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, needs no more lines
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return PIPE_CLOSED


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


class _PrintCompletion(argparse.Action):
    """Prints the script that completes commands and options in a shell, and exits."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option: object = None
    ) -> None:
        import shtab  # which the other commands do not need

        for action in _actions(parser):
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined] # which shtab reads
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of all its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tympan",
        description="Speech-to-text that runs entirely inside a web page.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tympan {_version()}")
    parser.add_argument(
        "--print-completion", action=_PrintCompletion, choices=("bash", "zsh", "tcsh"), help="print a completion script"
    )
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
    command = commands.add_parser("build", help="write the static site to a folder, for a static host")
    command.description = "Write the static site to a folder. Other files in that folder are deleted."
    default = Path("dist") if site.is_installed() else site.DIST
    command.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=default, help="default: dist")
    command.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> bool:
    folder = options.folder
    if folder != site.DIST and folder.exists() and not site.is_site(folder) and any(folder.iterdir()):
        raise CommandError(f"{folder} is neither empty nor a built site, so it is left as it is.")
    site.build(folder)
    return True


def _add_serve(commands: Commands) -> None:
    command = commands.add_parser("serve", help="serve the site on this machine")
    command.add_argument("--port", type=int, default=DEFAULT_PORT, help="TCP port (default: %(default)s)")
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> bool:
    serve_forever(site.prepare(), options.port)
    return True


_TERMS = "names and terms that the files may contain: one per line, optionally a colon and a weight (0 to 10)"


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
    command.add_argument("--mimi", default="auto", choices=MIMI, help="where Mimi runs (default: %(default)s)")
    command.add_argument(
        "--browser",
        default=BROWSERS[0],
        choices=BROWSERS,
        help="browser that runs the page; chromium is Chromium, Chrome or Edge (default: %(default)s)",
    )
    command.add_argument(
        "--trace",
        default="",
        choices=("1", "logits"),
        metavar="[logits]",
        help="with --format json: also print codes and tokens of every frame, and with 'logits' the logits",
    )
    command.add_argument("--terms", metavar="FILE", type=Path, help=_TERMS)
    command.add_argument("--silence", metavar="SECONDS", type=float, help="silence that ends a turn (default: 1.2)")
    command.set_defaults(run=_transcribe)


def _transcribe(options: argparse.Namespace) -> bool:
    from tympan.cli.transcribe import Options, transcribe

    try:
        terms = options.terms.read_text("utf-8") if options.terms else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{options.terms}: {getattr(error, 'strerror', None) or 'not a text file'}.") from error
    chosen = Options(
        options.format,
        options.model,
        options.backend,
        options.mimi,
        options.trace,
        options.browser,
        terms,
        options.silence,
    )
    return transcribe(options.files, chosen)


def _add_verify(commands: Commands) -> None:
    command = commands.add_parser("verify", help="check a model against results of the official implementation")
    command.description = (
        "Transcribe a recording in the page, with every backend of this machine, and compare codes, tokens and words "
        "with what Kyutai's implementation computed for it with the weights of stt-1b-en_fr. Published files with "
        "these results are downloaded and checked against the hashes in this program. The last line is one JSON object."
    )
    command.add_argument("model", metavar="MODEL", help="catalogue id, model directory or URL of one")
    command.add_argument("--backend", default="auto", choices=BACKENDS, help="default: all that this machine has")
    command.add_argument(
        "--set",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="also measure word errors on recordings with transcripts: LibriSpeech's layout, or .txt beside each file",
    )
    command.add_argument("--exact", action="store_true", help="every code and every token must be equal")
    command.add_argument(
        "--reference", metavar="FILE", type=Path, help="compare with other results, which this JSON file describes"
    )
    command.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> bool:
    from tympan.cli.reference import KYUTAI_1B, Reference
    from tympan.cli.transcribe import Options
    from tympan.cli.verify import EXACT, Tolerance, verify

    reference = Reference.read(options.reference) if options.reference else KYUTAI_1B
    tolerance = EXACT if options.exact else Tolerance()
    return verify(Options(model=options.model, backend=options.backend), options.set, tolerance, reference)


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
    from tympan.quantize import repository
    from tympan.quantize.convert import quantize
    from tympan.quantize.verify import verify

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
    from tympan.quantize.inspect import inspect

    for line in inspect(options.model):
        print(line)
    return True


def _add_shader(commands: Commands) -> None:
    shader.add_arguments(commands.add_parser("shader", help="print a composed WGSL shader with its source lines"))


def _add_bench(commands: Commands) -> None:
    command = commands.add_parser("bench", help="measure the speed or accuracy of one part in a headless browser")
    if site.is_installed():
        command.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        command.set_defaults(run=_no_bench)
        return
    benchmarks = command.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    add_benchmarks(benchmarks)


def _no_bench(options: argparse.Namespace) -> bool:
    raise CommandError("bench runs in a checkout of the repository only; the package has no benchmarks.")


COMMANDS: tuple[Callable[[Commands], None], ...] = (
    _add_build,
    _add_serve,
    _add_transcribe,
    _add_verify,
    _add_quantize,
    _add_inspect,
    _add_shader,
    _add_bench,
)

if __name__ == "__main__":
    sys.exit(main())
