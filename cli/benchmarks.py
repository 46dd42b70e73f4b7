"""The benchmarks of `tympan bench`: one function in BENCHMARKS for each adds its parser and returns it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Benchmarks: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

BACKENDS = ("auto", "webgpu", "simd", "numpy")  # the page's list; the module that defines it is slow to import
SIZES = ("1b", "demo")


def _add_load(benchmarks: Benchmarks) -> argparse.ArgumentParser:
    command = benchmarks.add_parser("load", help="loading a model of the released size")
    command.add_argument("--size", default="1b", choices=("1b",), help="model size (default: %(default)s)")
    command.set_defaults(run=_load)
    return command


def _load(options: argparse.Namespace) -> bool:
    from bench.load import main

    return main(options.json)


def _add_mimi(benchmarks: Benchmarks) -> argparse.ArgumentParser:
    command = benchmarks.add_parser("mimi", help="the Mimi encoder at the released size")
    command.set_defaults(run=_mimi)
    return command


def _mimi(options: argparse.Namespace) -> bool:
    from bench.mimi import main

    return main(options.json)


def _add_lm(benchmarks: Benchmarks) -> argparse.ArgumentParser:
    command = benchmarks.add_parser("lm", help="the transformer on one backend")
    command.add_argument("--size", default="1b", choices=SIZES, help="model size (default: %(default)s)")
    command.add_argument("--backend", default="webgpu", choices=BACKENDS[1:], help="default: %(default)s")
    command.add_argument(
        "--frames", type=int, default=200, help="number of frames at each fill of the KV cache (default: %(default)s)"
    )
    command.add_argument(
        "--session", type=int, default=0, metavar="N", help="also run one stream of N frames and report memory growth"
    )
    command.add_argument("--browser", default="", help="command that opens {url}; uses dist/ without building it")
    command.add_argument("--layouts", action="store_true", help="also time other layouts of the WebGPU kernels")
    command.set_defaults(run=_lm)
    return command


def _lm(options: argparse.Namespace) -> bool:
    from bench.lm import Plan, main

    plan = Plan(options.size, options.backend, options.frames, options.session, options.layouts)
    return main(plan, options.browser, options.json)


def _add_wer(benchmarks: Benchmarks) -> argparse.ArgumentParser:
    command = benchmarks.add_parser("wer", help="the word error rate on the test sets")
    command.add_argument("--model", default="", help="catalogue id, model directory or URL (default: the demo model)")
    command.add_argument("--backend", default="auto", choices=BACKENDS, help="default: %(default)s")
    command.add_argument(
        "--set", type=Path, action="append", default=[], metavar="ZIP", help="also this set, packed like bench/speech"
    )
    command.set_defaults(run=_wer)
    return command


def _wer(options: argparse.Namespace) -> bool:
    from bench.wer import main

    return main(options.model, options.backend, options.set, options.json)


def _add_pipeline(benchmarks: Benchmarks) -> argparse.ArgumentParser:
    command = benchmarks.add_parser("pipeline", help="Mimi and the transformer together, on a file")
    command.add_argument("--size", default="1b", choices=SIZES, help="model size (default: %(default)s)")
    command.add_argument("--backend", default="auto", choices=BACKENDS, help="default: %(default)s")
    command.set_defaults(run=_pipeline)
    return command


def _pipeline(options: argparse.Namespace) -> bool:
    from bench.pipeline import main

    return main(options.size, options.backend, options.json)


def _add_start(benchmarks: Benchmarks) -> argparse.ArgumentParser:
    command = benchmarks.add_parser("start", help="the time from opening the page to its first use")
    command.set_defaults(run=_start)
    return command


def _start(options: argparse.Namespace) -> bool:
    from bench.start import main

    return main(options.json)


def _add_long(benchmarks: Benchmarks) -> argparse.ArgumentParser:
    command = benchmarks.add_parser("long", help="recordings of hours: time and memory for every 100 s of audio")
    command.add_argument("--hours", type=float, nargs="+", default=[1, 3], help="lengths (default: 1 3)")
    command.add_argument("--backend", default="auto", choices=BACKENDS, help="default: %(default)s")
    command.set_defaults(run=_long)
    return command


def _long(options: argparse.Namespace) -> bool:
    from bench.long import main

    return main(options.hours, options.backend, options.json)


BENCHMARKS: tuple[Callable[[Benchmarks], argparse.ArgumentParser], ...] = (
    _add_load,
    _add_mimi,
    _add_lm,
    _add_wer,
    _add_pipeline,
    _add_start,
    _add_long,
)
