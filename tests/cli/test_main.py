"""The command as a script calls it: exit status, stdout, and one line on stderr for whatever went wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.site import ROOT

SOUND = ROOT / "tests" / "golden" / "a" / "input.wav"


def tympan(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def refusal(*arguments: str | Path, status: int = 1) -> str:
    """The one line that a failing command says."""
    done = tympan(*arguments)
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
        (("serve", "--port", "high"), "high"),
        (("quantize", "only-one"), "DEST"),
        (("quantize", "a", "b", "--embeddings", "q5"), "q5"),
    ],
)
def test_misuse(arguments: tuple[str, ...], expected: str) -> None:
    assert expected in refusal(*arguments, status=2)


def test_a_missing_file() -> None:
    assert refusal("transcribe", SOUND, "nowhere.wav") == "tympan: nowhere.wav: there is no such file."


def test_captions_of_several_files() -> None:
    assert "takes one file" in refusal("transcribe", SOUND, SOUND, "--format", "srt")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    expected = f"tympan: {tmp_path} is not a model directory: it holds no model.json."
    assert refusal("transcribe", SOUND, "--model", tmp_path) == expected


def test_an_unknown_model() -> None:
    line = refusal("transcribe", SOUND, "--model", "nonsense")
    assert line.startswith("tympan: There is no model “nonsense”. The catalogue has: demo")


def test_a_busy_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal("serve", "--port", str(port)) == f"tympan: Port {port} is in use; choose another with --port."


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    assert refusal("quantize", tmp_path / "nothing", tmp_path / "model").startswith("tympan: ")
    assert not (tmp_path / "model").exists()


def test_quantize_writes_a_model(tmp_path: Path) -> None:
    done = tympan("quantize", SOUND.parent, tmp_path / "model", "--format", "f32")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "model" / "model.json").read_text())["format"] == "tympan/1"


def test_quantize_with_tables_in_8_bits(tmp_path: Path) -> None:
    done = tympan("quantize", SOUND.parent, tmp_path / "model", "--embeddings", "q8")
    assert done.returncode == 0, done.stderr
    assert tympan("quantize", "--verify", tmp_path / "model").returncode == 0
    names = [line.split()[0] for line in tympan("inspect", tmp_path / "model").stdout.splitlines() if line]
    assert {"emb.0.weight.q8", "text_emb.weight.q8", "text_linear.weight.q4"} < set(names)


def test_transcribe_goes_on_after_a_file_that_holds_no_sound(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no sound")
    done = tympan("transcribe", "--trace", text, SOUND, "--format", "json")
    assert done.returncode == 1
    assert done.stderr.startswith(f"tympan: {text}: ")
    assert done.stderr.count("\n") == 1
    (result,) = json.loads(done.stdout)
    assert result["file"] == str(SOUND)
    assert len(result["tokens"]) == len(result["codes"]) + 1  # step 0 hears nothing yet
    assert len(result["codes"]) > result["frames"]  # the silence that flushes the last word is in them
    assert " ".join(word["text"] for word in result["words"]) == result["text"]


def test_transcribe_with_a_model_of_this_machine(tmp_path: Path) -> None:
    assert tympan("quantize", SOUND.parent, tmp_path / "model").returncode == 0
    done = tympan("transcribe", SOUND, "--model", tmp_path / "model", "--format", "vtt", "--backend", "numpy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("WEBVTT\n")
