"""Runs benches, keeps their results in bench/results, and updates the chart and the tables of the documents.

    python -m bench.record              every result that needs no GPU
    python -m bench.record mimi start   these

Run it on a machine that does nothing else, from a clean checkout: each result carries the commit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from bench import chart, plot, tables
from bench.calibration import keep_calibration
from bench.tables import RESULTS

# Name of the result file -> arguments of `tympan bench`. The H100 files come from another machine: docs/performance.md.
COMMANDS = {
    "start": "start",
    "mimi": "mimi",
    "lm-simd-demo": "lm --size demo --backend simd",
    "lm-simd-1b": "lm --size 1b --backend simd",
    "pipeline-demo-simd": "pipeline --size demo --backend simd",
    "pipeline-1b-simd": "pipeline --size 1b --backend simd",
    "load-1b-simd": "load --size 1b",
    "long": "long --hours 1 3",
    "engines": "engines",
    "delays": "delays",
    "wer": "wer --backend simd",  # also records confidence.json, and fits the calibration of the demo model
    "terms": "terms --backend simd",
    "lm-webgpu-demo-swiftshader": "lm --size demo --backend webgpu",
    "lm-webgpu-1b-swiftshader": "lm --size 1b --backend webgpu --frames 8",  # over a second per frame
    "pipeline-demo-swiftshader": "pipeline --size demo --backend webgpu",
}


def record(name: str) -> bool:
    """Run one bench and keep its result. Returns whether it succeeded."""
    command = [sys.executable, "-m", "tympan.cli.main", "bench", *COMMANDS[name].split(), "--json"]
    print(f"{name}: tympan bench {COMMANDS[name]}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        return False
    result = json.loads(done.stdout.splitlines()[-1])
    if name == "wer":
        confidence = {key: value for key, value in result.items() if key != "wer"}
        _write("confidence", confidence)
        keep_calibration(confidence)
        del result["confidence"]
    _write(name, result)
    return True


def _write(name: str, result: dict[str, Any]) -> None:
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=4) + "\n", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Record benchmark results and update the documents.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"default: all of {', '.join(COMMANDS)}")
    names = parser.parse_args().names or list(COMMANDS)
    unknown = [name for name in names if name not in COMMANDS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(COMMANDS)}")
    failed = [name for name in names if not record(name)]
    chart.main()
    plot.main()
    tables.main()
    for name in failed:
        print(f"{name}: failed; the earlier result is kept", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
