"""The wheel: what it contains, and the commands that it installs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.app.golden import GOLDEN
from tests.page.test_transcribe import MAX_WORD_ERROR_RATE, SAID, SPEECH
from tests.release.conftest import Run, site_packages
from tympan.cli import library
from tympan.cli.site import ROOT
from tympan.cli.word_errors import word_error_rate

# Calls the completion function of the script with the words of a command line, the last of which is incomplete.
COMPLETE = """
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_tympan "" "${{COMP_WORDS[COMP_CWORD]}}"; echo "${{COMPREPLY[*]}}"
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_claims_one_name(wheel: Path) -> None:
    version = library.version(ROOT)
    assert wheel.name == f"tympan-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"tympan", f"tympan-{version}.dist-info"}


def test_the_wheel_contains_the_library_of_the_page(wheel: Path) -> None:
    """Byte by byte, so that it also works in a page."""
    with zipfile.ZipFile(wheel) as archive:
        for name, path in library.modules(ROOT):
            assert archive.read(name) == path.read_bytes(), name


def test_a_wheel_built_from_the_sdist_has_the_same_bytes(files: Path, wheel: Path, tmp_path: Path) -> None:
    (sdist,) = files.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True)
    sources = tmp_path / sdist.name.removesuffix(".tar.gz")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=sources, check=True)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_dependencies_of_the_command_line_are_not_installed_in_a_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(name).decode().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    assert "numpy" in required
    markers = {line.partition("; ")[2] for line in required if line != "numpy"}
    assert markers == {"sys_platform != 'emscripten'", "extra == 'testing'", "extra == 'verify'"}


def test_version_is_that_of_the_sources(run_installed: Run) -> None:
    assert run_installed("--version").stdout == f"tympan {library.version(ROOT)}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts_name_every_command(run_installed: Run, shell: str) -> None:
    done = run_installed("--print-completion", shell)
    assert done.returncode == 0, done.stderr
    for command in ("serve", "transcribe", "quantize", "inspect"):
        assert command in done.stdout


def test_bash_completes_commands_options_and_files(run_installed: Run, tmp_path: Path) -> None:
    script = run_installed("--print-completion", "bash").stdout
    (tmp_path / "talk.mp3").touch()
    for words, expected in (
        ("tympan tr", "transcribe"),
        ("tympan transcribe --form", "--format"),
        ("tympan transcribe --format s", "srt"),
        ("tympan transcribe tal", "talk.mp3"),
    ):
        bash = ["bash", "-c", script + COMPLETE.format(words=words)]
        completed = subprocess.run(bash, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert completed.split() == [expected]


def test_the_library_loads_the_demo_model_of_the_wheel(environment: Path, tmp_path: Path) -> None:
    script = (
        "import asyncio, tympan, numpy as np\n"
        "stt = asyncio.run(tympan.Transcriber.load('demo', backend='numpy'))\n"
        "print(stt.manifest.name, asyncio.run(stt.transcribe(np.zeros(7_200, np.float32))).seconds)\n"
    )
    python = [str(environment / "bin" / "python"), "-I", "-c", script]
    done = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("demo 0.3\n", "")


def test_inspect_reads_the_demo_model_of_the_wheel(run_installed: Run, environment: Path) -> None:
    done = run_installed("inspect", site_packages(environment) / "tympan" / "site" / "models" / "demo")
    assert done.returncode == 0, done.stderr
    assert "text_emb" in done.stdout


def test_quantize_writes_a_model(run_installed: Run, tmp_path: Path) -> None:
    done = run_installed("quantize", GOLDEN, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert "verified" in run_installed("quantize", "--verify", tmp_path / "model").stdout


def test_shader_composes_the_shaders_of_the_wheel(run_installed: Run) -> None:
    assert "// qkv.wgsl:" in run_installed("shader", "qkv").stdout


def test_bench_says_that_it_needs_a_checkout(run_installed: Run) -> None:
    done = run_installed("bench", "lm", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tympan: bench runs in a checkout of the repository only; the package has no benchmarks.\n"


def test_the_package_has_the_fixtures_for_pytest(environment: Path, tmp_path: Path) -> None:
    python = [str(environment / "bin" / "python"), "-I", "-m", "pytest", "-p", "tympan.cli.testing", "--fixtures", "-q"]
    listed = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "tympan_page -- " in listed
    assert "tympan_browser [session scope] -- " in listed


def test_build_writes_the_site(run_installed: Run, tympan_site: Path, tmp_path: Path) -> None:
    assert run_installed("build").returncode == 0
    assert contents(tmp_path / "elsewhere" / "dist") == contents(tympan_site)


def test_build_spares_a_folder_of_something_else(run_installed: Run, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "draft.txt").write_text("Dear")
    done = run_installed("build", tmp_path / "letters")
    assert done.returncode == 1
    assert "is neither empty nor a built site" in done.stderr
    assert contents(tmp_path / "letters") == {"draft.txt": b"Dear"}


def test_serve_serves_the_site_of_the_wheel(environment: Path, tmp_path: Path) -> None:
    command = [str(environment / "bin" / "tympan"), "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            with urlopen(f"{url}/models/catalogue.json") as reply:
                assert json.load(reply)["models"][0]["id"] == "demo"
        finally:
            server.terminate()


def test_no_command_writes_into_the_installation(run_installed: Run, environment: Path, tmp_path: Path) -> None:
    """It may be read-only."""
    before = {path: path.stat().st_mtime_ns for path in site_packages(environment).rglob("*")}
    assert run_installed("inspect", site_packages(environment) / "tympan" / "site" / "models" / "demo").returncode == 0
    assert run_installed("quantize", GOLDEN, tmp_path / "model").returncode == 0
    assert run_installed("build", tmp_path / "site").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in site_packages(environment).rglob("*")} == before


def test_transcribe_runs_the_page_of_the_wheel(run_installed: Run, tympan_chromium: Path) -> None:
    done = run_installed("transcribe", SPEECH, "--backend", "simd", TYMPAN_CHROMIUM=str(tympan_chromium))
    assert done.returncode == 0, done.stderr
    assert word_error_rate(SAID, done.stdout) <= MAX_WORD_ERROR_RATE
