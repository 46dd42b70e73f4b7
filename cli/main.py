"""The command `tympan`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NoReturn

from cli import shader
from cli.errors import CommandError
from cli.server import DEFAULT_PORT, serve_forever
from cli.site import DIST, build
from tympan.errors import TympanError

BACKENDS = ("auto", "webgpu", "simd", "numpy")  # as of the page; its module takes long to import

FAILED = 1
INTERRUPTED = 130  # as a shell reports it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 when all was done, 1 when not all was; misuse exits with 2."""
    options = _parser().parse_args(_with_trace_explicit(sys.argv[1:] if arguments is None else arguments))
    try:
        return 0 if options.run(options) else FAILED
    except (CommandError, TympanError) as error:
        print(f"tympan: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _with_trace_explicit(arguments: Sequence[str]) -> list[str]:
    """Read `--trace FILE` as `--trace=1 FILE`: argparse would take the file for the option's value."""
    return [
        "--trace=1" if argument == "--trace" and following != "logits" else argument
        for argument, following in zip_longest(arguments, arguments[1:])
    ]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line; the usage is a --help away."""
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tympan", description="Speech-to-text that runs whole inside a web page.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("build", help="build the static site into dist/")
    command.set_defaults(run=_build)

    command = commands.add_parser("serve", help="build the site and serve it on this machine")
    command.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
    command.set_defaults(run=_serve)

    _add_transcribe(commands.add_parser("transcribe", help="transcribe audio files in a headless browser"))
    _add_quantize(commands.add_parser("quantize", help="turn an official checkpoint into a model directory"))

    command = commands.add_parser("inspect", help="list what a model directory or a file of tensors holds")
    command.add_argument("model", metavar="MODEL", type=Path, help="a model directory, a safetensors or a GGUF file")
    command.set_defaults(run=_inspect)

    shader.add_arguments(commands.add_parser("shader", help="print a composed WGSL shader with its source lines"))
    _add_bench(commands.add_parser("bench", help="measure how fast a part runs in a headless browser"))
    return parser


def _add_transcribe(command: argparse.ArgumentParser) -> None:
    command.description = "Transcribe audio files, in any format the browser decodes, and print what they say."
    command.add_argument("files", metavar="FILE", type=Path, nargs="+")
    command.add_argument("--format", default="txt", choices=("txt", "srt", "vtt", "json"), help="default: %(default)s")
    command.add_argument("--model", default="", help="a name of the site's catalogue, a model directory, or its URL")
    command.add_argument("--backend", default="auto", choices=BACKENDS, help="default: %(default)s")
    command.add_argument(
        "--trace",
        default="",
        choices=("1", "logits"),
        metavar="[logits]",
        help="with --format json: the codes and tokens of every frame too, or these and the logits",
    )
    command.set_defaults(run=_transcribe)


def _add_quantize(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Turn an official checkpoint directory (config.json, the transformer's and Mimi's safetensors, the "
        "SentencePiece model) into a model directory that the page loads."
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="the checkpoint directory, or a repository of the Hugging Face Hub, as in kyutai/stt-1b-en_fr",
    )
    command.add_argument("dest", metavar="DEST", type=Path, help="the model directory to write")
    command.add_argument("--verify", action="store_true", help="read DEST instead, and check all that is in it")
    command.add_argument(
        "--mimi",
        default="as-is",
        choices=("as-is", "f16"),
        help="f16: Mimi in 16 bits, all but its codebooks (default: %(default)s)",
    )
    command.add_argument(
        "--format",
        default="q4_0",
        choices=("q4_0", "f32"),
        help="q4_0: matrices in 4 bits; f32: everything as it is (default: %(default)s)",
    )
    command.add_argument(
        "--embeddings",
        choices=("q4", "q8", "f32"),
        help="the transformer's embedding tables in 4, 8 or 32 bits (default: as --format says)",
    )
    command.set_defaults(run=_quantize, refuse=command.error)


def _add_bench(command: argparse.ArgumentParser) -> None:
    benches = command.add_subparsers(metavar="NAME", required=True)
    load = benches.add_parser("load", help="loading a model of the released size")
    load.add_argument("--size", default="1b", choices=("1b",), help="of the model, the released one")
    load.set_defaults(run=_bench_load)
    mimi = benches.add_parser("mimi", help="the Mimi encoder at the released size")
    mimi.set_defaults(run=_bench_mimi)
    lm = benches.add_parser("lm", help="the transformer on one backend")
    lm.add_argument("--size", default="1b", choices=("1b", "demo"), help="of the model; default: %(default)s")
    lm.add_argument("--backend", default="webgpu", choices=("webgpu", "simd", "numpy"), help="default: %(default)s")
    lm.add_argument("--frames", type=int, default=200, help="at each fill of the ring; default: %(default)s")
    lm.add_argument("--session", type=int, default=0, metavar="N", help="also one stream of N frames: what it grows by")
    lm.add_argument("--browser", default="", help="a command that opens {url}, for dist/ as it is")
    lm.add_argument("--layouts", action="store_true", help="of WebGPU's kernels, time others too")
    lm.set_defaults(run=_bench_lm)
    wer = benches.add_parser("wer", help="the words that a model gets wrong")
    wer.add_argument("--model", default="", help="as of `tympan transcribe`")
    wer.add_argument("--backend", default="auto", choices=BACKENDS, help="default: %(default)s")
    wer.set_defaults(run=_bench_wer)
    pipeline = benches.add_parser("pipeline", help="Mimi and the transformer together, on a file")
    pipeline.add_argument("--size", default="1b", choices=("1b", "demo"), help="of the model; default: %(default)s")
    pipeline.add_argument("--backend", default="auto", choices=BACKENDS, help="default: %(default)s")
    pipeline.set_defaults(run=_bench_pipeline)
    start = benches.add_parser("start", help="from opening the page to its first use")
    start.set_defaults(run=_bench_start)
    for bench in (load, mimi, lm, wer, pipeline, start):
        bench.add_argument("--json", action="store_true", help="after the table, the same as one line of JSON")


def _build(options: argparse.Namespace) -> bool:
    build(DIST)
    return True


def _serve(options: argparse.Namespace) -> bool:
    build(DIST)
    serve_forever(DIST, options.port)
    return True


# Those below import late: a browser's driver and numpy take longer to load than the other commands take to run.


def _transcribe(options: argparse.Namespace) -> bool:
    from cli.transcribe import Options, transcribe

    return transcribe(options.files, Options(options.format, options.model, options.backend, options.trace))


def _quantize(options: argparse.Namespace) -> bool:
    from quantize import repository
    from quantize.convert import quantize
    from quantize.verify import verify

    if options.verify:
        manifest = asyncio.run(verify(options.dest))
        print(f"{options.dest}: {manifest.title}, {manifest.n_bytes:,} bytes, all as it should be.")
        return True
    if options.source is None:
        options.refuse("the following arguments are required: SOURCE and DEST")
    is_repository = repository.is_repository(options.source)
    source = repository.fetch(options.source) if is_repository else Path(options.source)
    quantize(source, options.dest, options.format, mimi_format=options.mimi, embeddings=options.embeddings)
    return True


def _inspect(options: argparse.Namespace) -> bool:
    from quantize.inspect import inspect

    for line in inspect(options.model):
        print(line)
    return True


def _bench_load(options: argparse.Namespace) -> bool:
    from bench.load import main as measure_load

    return measure_load(options.json)


def _bench_mimi(options: argparse.Namespace) -> bool:
    from bench.mimi import main as measure_mimi

    return measure_mimi(options.json)


def _bench_lm(options: argparse.Namespace) -> bool:
    from bench.lm import Plan
    from bench.lm import main as measure_lm

    plan = Plan(options.size, options.backend, options.frames, options.session, options.layouts)
    return measure_lm(plan, options.browser, options.json)


def _bench_pipeline(options: argparse.Namespace) -> bool:
    from bench.pipeline import main as measure_pipeline

    return measure_pipeline(options.size, options.backend, options.json)


def _bench_wer(options: argparse.Namespace) -> bool:
    from bench.wer import main as measure_wer

    return measure_wer(options.model, options.backend, options.json)


def _bench_start(options: argparse.Namespace) -> bool:
    from bench.start import main as measure_start

    return measure_start(options.json)


if __name__ == "__main__":
    sys.exit(main())
