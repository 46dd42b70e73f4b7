"""Runs `tympan verify` against the stand-in host: as it is, and with one weight, one code or one file changed.

The page quantizes the checkpoint from the host by Range requests. As that takes minutes, the runs that need no other
weights use a model directory that `tympan quantize` made of the same files, which has the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bench.provenance import provenance
from bench.stand_in.checkpoint import LM_NAME, MODEL, files_path, hub, to_bfloat16
from tympan.cli.reference import ROLES
from tympan.cli.server import serving
from tympan.cli.site import ENVIRONMENT_VARIABLE, prepare
from tympan.weights.file import InMemory
from tympan.weights.safetensors import SafetensorsFile

DESCRIPTION = "reference.json"
QUANTIZED = "quantized"  # the model directory
CODES, TRANSCRIPT = "reference/mimi_tokens.json", "reference/transcript.txt"
WEIGHT, ROW, COLUMN, VALUE = "text_linear.weight", 5, 7, 50.0  # the changed weight
FRAME, CODEBOOK = 17, 4  # of the changed code


@dataclass(frozen=True)
class Run:
    """What one call of `tympan verify` did. reasons: the lines of its errors. result: its line of JSON, if any."""

    exit: int
    reasons: list[str]
    result: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Host:
    """A served folder, and a site whose catalogue names its server as the host of the model."""

    url: str
    site: Path
    description: Path

    def verify(self, model: str, *options: str) -> Run:
        """Run `tympan verify`. model: a catalogue id or a model directory."""
        command = [sys.executable, "-m", "tympan.cli.main", "verify", model, *options]
        environment = {
            ENVIRONMENT_VARIABLE: str(self.site),
            "XDG_CACHE_HOME": str(self.site.with_name("cache")),  # where reference files are kept
        }
        started_s = perf_counter()
        done = subprocess.run(
            [*command, "--reference", str(self.description)],
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        print(done.stdout, done.stderr, sep="", flush=True)
        prefix = "tympan: "
        reasons = [line.removeprefix(prefix) for line in done.stderr.splitlines() if line.startswith(prefix)]
        lines = done.stdout.splitlines()
        return Run(done.returncode, reasons, json.loads(lines[-1]) if lines else {}, round(perf_counter() - started_s))


@contextmanager
def hosting(folder: Path) -> Iterator[Host]:
    """Serve a folder as the model's host."""
    with tempfile.TemporaryDirectory() as scratch, serving(folder) as url:
        site, description = Path(scratch) / "site", Path(scratch) / DESCRIPTION
        shutil.copytree(prepare(), site)
        set_host(site / "models" / "catalogue.json", url)
        description.write_text(json.dumps(described(folder, url)), "utf-8")
        yield Host(url, site, description)


def set_host(catalogue: Path, url: str) -> None:
    """Make `url` the host of the model in a site's catalogue."""
    models = json.loads(catalogue.read_text("utf-8"))
    for entry in models["models"]:
        if entry["id"] == MODEL:
            entry["hub"]["host"] = url
    catalogue.write_text(json.dumps(models), "utf-8")


def described(folder: Path, url: str) -> dict[str, Any]:
    """The description of the reference, with the addresses of its files on the server."""
    description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    for role in ROLES:
        description[role]["url"] = f"{url}/{description[role]['url']}"
    return description


@contextmanager
def changed(folder: Path, path: str, change: Callable[[Path, Path], None]) -> Iterator[Path]:
    """A copy of a folder in which one file is changed; the others are links.

    path: of the file, relative to the folder. change: called with the copy of the folder and of the file.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy, copy_function=os.symlink, ignore=shutil.ignore_patterns(QUANTIZED))
        for name in (path, DESCRIPTION):
            (copy / name).unlink()
            shutil.copyfile(folder / name, copy / name)
        change(copy, copy / path)
        yield copy


def change_weight(folder: Path, path: Path) -> None:
    """Set one weight of the matrix that computes the logits."""
    tensors = SafetensorsFile(InMemory.mapped(path), path.name)
    offset, _ = tensors.location(WEIGHT)
    _, n_columns = tensors.shape(WEIGHT)
    with path.open("r+b") as file:
        file.seek(offset + 2 * (ROW * n_columns + COLUMN))
        file.write(to_bfloat16(np.array([VALUE], np.float32)).tobytes())


def change_code(folder: Path, path: Path) -> None:
    """Change one code, and the hash of the file that has it."""
    content = json.loads(path.read_text("utf-8"))
    content["tokens"][FRAME][CODEBOOK] ^= 1
    path.write_text(json.dumps(content), "utf-8")
    description = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    description["codes"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / DESCRIPTION).write_text(json.dumps(description), "utf-8")


def change_file(folder: Path, path: Path) -> None:
    """Append a byte to a file whose hash is published."""
    path.write_bytes(path.read_bytes() + b".")


def measure(folder: Path, backends: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Run everything. Returns the result to keep, and whether all runs ended as they should.

    backends: those on which the model directory is verified, besides the CPU on which the page's own result is.
    """
    files, directory = folder / files_path(), folder / QUANTIZED
    if not directory.exists():
        subprocess.run([sys.executable, "-m", "tympan.cli.main", "quantize", str(files), str(directory)], check=True)
    on_cpu = ("--backend", "simd")
    with hosting(folder) as host:
        right = {"page": host.verify(MODEL, *on_cpu)}
        right |= {backend: host.verify(str(directory), "--backend", backend) for backend in backends}
    wrong: dict[str, Run] = {}
    with changed(folder, f"{files_path()}/{LM_NAME}", change_weight) as copy, hosting(copy) as host:
        wrong["weight"] = host.verify(MODEL, *on_cpu)
    with changed(folder, CODES, change_code) as copy, hosting(copy) as host:
        wrong["code"] = host.verify(str(directory), *on_cpu, "--exact")
    with changed(folder, TRANSCRIPT, change_file) as copy, hosting(copy) as host:
        wrong["file"] = host.verify(MODEL, *on_cpu)
    result = {
        "model": hub()["repository"],
        "reference": right["page"].result.get("reference"),
        "checkpoint_bytes": sum(path.stat().st_size for path in files.iterdir()),
        "right": {name: _passed(run) for name, run in right.items()},
        "wrong": {
            name: {"exit": run.exit, "reasons": _short(run.reasons), "seconds": run.seconds}
            for name, run in wrong.items()
        },
    }
    as_expected = not any(run.exit for run in right.values()) and all(
        run.exit == 1 and run.reasons for run in wrong.values()
    )
    return {"verify_stand_in": result, **provenance(right["page"].result.get("browser", ""))}, as_expected


def _short(reasons: Sequence[str]) -> list[str]:
    """The reasons without the text of a wrong transcript."""
    return [reason.partition(": “")[0] for reason in reasons]


def _passed(run: Run) -> dict[str, Any]:
    [(backend, outcome)] = run.result.get("verify", {"": {}}).items()
    return {"exit": run.exit, "backend": backend, **outcome, "seconds": run.seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description="Run tympan verify against the stand-in host.")
    parser.add_argument("folder", type=Path, help="the folder that bench.stand_in.make wrote")
    parser.add_argument(
        "--backend", action="append", default=[], help="also verify the model directory on this backend"
    )
    options = parser.parse_args()
    result, as_expected = measure(options.folder.resolve(), options.backend)
    print(json.dumps(result))
    return 0 if as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
