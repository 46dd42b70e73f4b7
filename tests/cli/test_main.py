"""The command as scripts use it: exit status, stdout, and one line on stderr for each error."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import run_tympan
from tests.cli.conftest import RunTympan
from tympan.cli.benchmarks import BENCHMARKS
from tympan.cli.main import COMMANDS
from tympan.cli.site import ENVIRONMENT_VARIABLE, ROOT

AUDIO = ROOT / "tests" / "golden" / "a" / "input.wav"


def error_line(done: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The single line on stderr of a command that failed with this exit status."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "required"),
        (("sing",), "sing"),
        (("transcribe",), "FILE"),
        (("transcribe", "a.wav", "--backend", "abacus"), "abacus"),
        (("transcribe", "a.wav", "--format", "doc"), "doc"),
        (("transcribe", "a.wav", "--browser", "lynx"), "lynx"),
        (("serve", "--port", "high"), "high"),
        (("quantize", "only-one"), "DEST"),
        (("quantize", "a", "b", "--embeddings", "q5"), "q5"),
        (("bench",), "NAME"),
    ],
)
def test_usage_errors_are_one_line_with_status_2(arguments: tuple[str, ...], expected: str) -> None:
    assert expected in error_line(run_tympan(*arguments), status=2)


def test_help_lists_every_command_and_environment_variable() -> None:
    shown = run_tympan("--help").stdout
    assert shown.startswith("usage: tympan ")
    for name in ("build", "serve", "transcribe", "quantize", "inspect", "bench", "TYMPAN_CHROMIUM", "TYMPAN_SITE"):
        assert f"\n    {name}" in shown or f"\n  {name} " in shown, name
    assert shown.count("\n    ") >= len(COMMANDS)
    listed = run_tympan("bench", "--help").stdout
    assert listed.count("\n    ") >= len(BENCHMARKS)


def test_a_closed_pipe_ends_the_command_without_a_message() -> None:
    """As in `tympan inspect MODEL | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tympan.cli.main", "shader", "qkv"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_version_is_printed() -> None:
    assert run_tympan("--version").stdout.startswith("tympan ")


def test_transcribe_rejects_a_missing_file() -> None:
    assert error_line(run_tympan("transcribe", AUDIO, "nowhere.wav")) == "tympan: nowhere.wav: no such file."


def test_transcribe_rejects_captions_of_several_files() -> None:
    assert "takes one file" in error_line(run_tympan("transcribe", AUDIO, AUDIO, "--format", "srt"))


def test_transcribe_rejects_a_folder_that_is_not_a_model(tmp_path: Path) -> None:
    expected = f"tympan: {tmp_path} is not a model directory: it has no model.json."
    assert error_line(run_tympan("transcribe", AUDIO, "--model", tmp_path)) == expected


def test_a_site_that_is_not_built_is_rejected(tmp_path: Path) -> None:
    line = error_line(run_tympan("transcribe", AUDIO, **{ENVIRONMENT_VARIABLE: str(tmp_path)}))
    assert line == f"tympan: TYMPAN_SITE is set to {tmp_path}, which is not a built site."


def test_serve_reports_a_port_in_use(tympan_site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = run_tympan("serve", "--port", port, **{ENVIRONMENT_VARIABLE: str(tympan_site)})
    assert error_line(done) == f"tympan: Port {port} is in use; choose another with --port."


def test_quantize_reports_a_missing_checkpoint(tmp_path: Path) -> None:
    assert error_line(run_tympan("quantize", tmp_path / "nothing", tmp_path / "model")).startswith("tympan: ")
    assert not (tmp_path / "model").exists()


def test_quantize_writes_a_model(tmp_path: Path) -> None:
    done = run_tympan("quantize", AUDIO.parent, tmp_path / "model", "--format", "f32")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "model" / "model.json").read_text())["format"] == "tympan/1"


def test_quantize_writes_embedding_tables_in_8_bits(tmp_path: Path) -> None:
    done = run_tympan("quantize", AUDIO.parent, tmp_path / "model", "--embeddings", "q8")
    assert done.returncode == 0, done.stderr
    assert run_tympan("quantize", "--verify", tmp_path / "model").returncode == 0
    names = [line.split()[0] for line in run_tympan("inspect", tmp_path / "model").stdout.splitlines() if line]
    assert {"emb.0.weight.q8", "text_emb.weight.q8", "text_linear.weight.q4"} < set(names)


def test_transcribe_reports_an_unknown_model(tympan_in_browser: RunTympan) -> None:
    line = error_line(tympan_in_browser("transcribe", AUDIO, "--model", "nonsense"))
    assert line.startswith("tympan: There is no model “nonsense”. The catalogue has: demo")


def test_transcribe_continues_after_a_file_without_audio(tmp_path: Path, tympan_in_browser: RunTympan) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no audio")
    done = tympan_in_browser("transcribe", "--trace", text, AUDIO, "--format", "json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"tympan: {text}: ")
    assert done.stderr.count("\n") == 1
    (result,) = json.loads(done.stdout)
    assert result["file"] == str(AUDIO)
    assert len(result["tokens"]) == len(result["codes"]) + 1  # step 0 has no frame
    assert len(result["codes"]) > result["frames"]  # includes the silence that flushes the last word
    assert " ".join(word["text"] for word in result["words"]) == result["text"]


def test_transcribe_loads_a_local_model_directory(tmp_path: Path, tympan_in_browser: RunTympan) -> None:
    assert run_tympan("quantize", AUDIO.parent, tmp_path / "model").returncode == 0
    options = ("--model", tmp_path / "model", "--format", "vtt", "--backend", "numpy")
    done = tympan_in_browser("transcribe", AUDIO, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("WEBVTT\n")
