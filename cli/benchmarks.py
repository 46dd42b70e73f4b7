"""The benchmarks of `tympan bench`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tympan.cli import site

if TYPE_CHECKING:
    Benchmarks: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

MIMI = ("auto", "webgpu", "cpu")  # of the page too
BACKENDS = ("auto", "webgpu", "simd", "numpy")  # the page's list; the module that defines it is slow to import
BROWSERS = ("chromium", "firefox", "chrome", "edge")  # those that cli/browser.py starts
SIZES = ("1b", "demo")


class Option:
    """An option of a benchmark: the arguments of `add_argument`."""

    def __init__(self, flag: str, **settings: Any) -> None:
        self.flag, self.settings = flag, settings


@dataclass(frozen=True)
class Benchmark:
    """A benchmark. `run` imports its module only when it is needed, and returns whether it succeeded."""

    help: str
    run: Callable[[argparse.Namespace], bool]
    options: Sequence[Option] = ()


def add_benchmarks(benchmarks: Benchmarks) -> None:
    """Add a parser for each benchmark."""
    for name, benchmark in BENCHMARKS.items():
        command = benchmarks.add_parser(name, help=benchmark.help)
        for option in benchmark.options:
            command.add_argument(option.flag, **option.settings)
        command.add_argument("--json", action="store_true", help="print the result as a last line of JSON, too")
        command.set_defaults(run=benchmark.run)


def _size(sizes: Sequence[str] = SIZES) -> Option:
    return Option("--size", default="1b", choices=sizes, help="model size (default: %(default)s)")


def _backend(default: str = "auto", backends: Sequence[str] = BACKENDS) -> Option:
    return Option("--backend", default=default, choices=backends, help="default: %(default)s")


def _load(options: argparse.Namespace) -> bool:
    from bench.load import main

    return main(options.json)


def _mimi(options: argparse.Namespace) -> bool:
    if options.backend == "cpu":
        from bench import mimi

        return mimi.main(options.json)
    from bench import mimi_webgpu

    plan = mimi_webgpu.Plan(options.frames, options.layouts, options.half)
    return mimi_webgpu.main(plan, options.browser, options.json)


def _lm(options: argparse.Namespace) -> bool:
    from bench.lm import Plan, main

    plan = Plan(options.size, options.backend, options.frames, options.session, options.layouts)
    return main(plan, options.browser, options.json)


def _frame(options: argparse.Namespace) -> bool:
    from bench.frame import main

    return main(options.frames, options.browser, options.json)


def _wer(options: argparse.Namespace) -> bool:
    from bench.wer import main

    return main(options.model, options.backend, options.set, options.json)


def _confidence(options: argparse.Namespace) -> bool:
    from bench.confidence import main

    return main(options.model, options.backend, options.json)


def _terms(options: argparse.Namespace) -> bool:
    from bench.terms import main

    return main(options.model, options.backend, options.json)


def _pipeline(options: argparse.Namespace) -> bool:
    from bench.pipeline import main

    return main(options.size, options.backend, options.seconds, options.json)


def _start(options: argparse.Namespace) -> bool:
    from bench.start import main

    return main(options.json)


def _engines(options: argparse.Namespace) -> bool:
    from bench.engines import main

    return main(options.json)


def _delays(options: argparse.Namespace) -> bool:
    from bench.delays import main

    return main(options.json)


def _long(options: argparse.Namespace) -> bool:
    from bench.long import main

    return main(options.hours, options.backend, options.json)


_FRAMES = "number of frames at each fill of the KV cache (default: %(default)s)"
_SESSION = "also run one stream of N frames and report memory growth"
_BROWSER = "command that opens {url}; uses dist/ without building it"
_LAYOUTS = "also time other layouts of the WebGPU kernels"
_MODEL = "catalogue id, model directory or URL (default: the demo model)"
_SET = "also this set, packed like bench/speech"


def provenance(browser: str) -> dict[str, Any]:
    """Commit, date, machine and browser of a result; only the browser where the package is installed.

    browser: name and version.
    """
    if site.is_installed():
        return {"browser": browser}
    from bench.provenance import provenance

    return provenance(browser)


BENCHMARKS = {
    "load": Benchmark("loading a model of the released size", _load, [_size(("1b",))]),
    "mimi": Benchmark(
        "the Mimi encoder at the released size",
        _mimi,
        [
            Option("--backend", default="cpu", choices=("cpu", "webgpu"), help="default: %(default)s"),
            Option("--frames", type=int, default=640, help="with webgpu: number of frames (default: %(default)s)"),
            Option("--half", action="store_true", help="with webgpu: matrices in float16"),
            Option("--browser", default="", help=_BROWSER),
            Option("--layouts", action="store_true", help=_LAYOUTS),
        ],
    ),
    "lm": Benchmark(
        "the transformer on one backend",
        _lm,
        [
            _size(),
            _backend("webgpu", BACKENDS[1:]),
            Option("--frames", type=int, default=200, help=_FRAMES),
            Option("--session", type=int, default=0, metavar="N", help=_SESSION),
            Option("--browser", default="", help=_BROWSER),
            Option("--layouts", action="store_true", help=_LAYOUTS),
        ],
    ),
    "frame": Benchmark(
        "a frame of live audio through both stages on a GPU, with and without a vocabulary",
        _frame,
        [
            Option("--frames", type=int, default=100, help="per stream and round (default: %(default)s)"),
            Option("--browser", default="", help=_BROWSER),
        ],
    ),
    "wer": Benchmark(
        "the word error rate on the test sets",
        _wer,
        [
            Option("--model", default="", help=_MODEL),
            _backend(),
            Option("--set", type=Path, action="append", default=[], metavar="ZIP", help=_SET),
        ],
    ),
    "confidence": Benchmark(
        "whether confidences tell right words from wrong ones, on the test sets",
        _confidence,
        [Option("--model", default="", help=_MODEL), _backend()],
    ),
    "terms": Benchmark(
        "what a vocabulary does to errors on rare names and on other words",
        _terms,
        [Option("--model", default="", help=_MODEL), _backend()],
    ),
    "pipeline": Benchmark(
        "Mimi and the transformer together, on a file",
        _pipeline,
        [
            _size(),
            _backend(),
            Option("--seconds", type=float, default=75, help="of audio (default: %(default)s)"),
        ],
    ),
    "start": Benchmark("the time from opening the page to its first use", _start),
    "engines": Benchmark("the CPU path in Chromium, Firefox and WebKit", _engines),
    "delays": Benchmark("the delay of live words in Chromium, Firefox and WebKit", _delays),
    "long": Benchmark(
        "recordings of hours: time and memory for every 100 s of audio",
        _long,
        [
            Option("--hours", type=float, nargs="+", default=[1, 3], help="lengths (default: 1 3)"),
            _backend(),
        ],
    ),
}
