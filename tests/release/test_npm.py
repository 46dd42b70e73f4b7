"""The npm package: its types, and its scripts from another origin and in a bundled page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.page.test_transcribe import MAX_WORD_ERROR_RATE, SAID, SPEECH
from tests.page.tympan_page import TRANSCRIBE_MS
from tympan.cli.library import version
from tympan.cli.server import serving
from tympan.cli.site import ROOT
from tympan.cli.testing import OpenBrowser
from tympan.cli.word_errors import word_error_rate

BUNDLED = Path(__file__).parent / "bundled"
EXAMPLES = ROOT / "static" / "examples"
MODULES = {"script.html": "tympan/embed.js", "speech-recognition.html": "", "captions.html": "tympan/captions.js"}


@pytest.fixture(scope="session")
def package(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the package, as npm unpacks them."""
    folder = tmp_path_factory.mktemp("npm")
    (packed,) = files.glob("*.tgz")
    subprocess.run(["tar", "-xzf", packed, "-C", folder], check=True)
    return folder / "package"


@pytest.fixture
def project(package: Path, tmp_path: Path) -> Path:
    """A project with TypeScript sources in which the package is installed."""
    shutil.copytree(BUNDLED, tmp_path, dirs_exist_ok=True)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "tympan").symlink_to(package)
    return tmp_path


def node(project: Path, script: str, *arguments: str) -> None:
    """Run a program of an npm package of the checkout; its output is the message of a failure."""
    command = ["node", str(ROOT / "node_modules" / script), *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def scripts(page: str) -> list[str]:
    """The inline scripts of an example."""
    return re.findall(r"<script(?: type=\"module\")?>\n(.*?)</script>", page, re.DOTALL)


def test_the_package_has_the_site_and_the_version(package: Path, tympan_site: Path) -> None:
    description = json.loads((package / "package.json").read_text("utf-8"))
    assert (description["name"], description["version"]) == ("tympan", version(ROOT))
    for path in tympan_site.rglob("*"):
        if path.is_file():
            assert (package / path.relative_to(tympan_site)).read_bytes() == path.read_bytes(), path


def test_every_export_exists(package: Path) -> None:
    exports = json.loads((package / "package.json").read_text("utf-8"))["exports"]
    files = [file for entry in exports.values() if isinstance(entry, dict) for file in entry.values()]
    assert len(files) == 8
    assert all((package / file).is_file() for file in files)


def test_types_accept_the_page_and_reject_misuse(project: Path) -> None:
    node(project, "typescript/bin/tsc", "-p", ".")


@pytest.mark.parametrize("example", MODULES)
def test_types_accept_the_examples(example: str, project: Path) -> None:
    found = scripts((EXAMPLES / example).read_text("utf-8"))
    assert found
    for path in project.glob("*.ts"):
        path.unlink()
    for i, script in enumerate(found):
        imported = f'import "{MODULES[example]}";\n' if MODULES[example] else "export {};\n"
        (project / f"example{i}.js").write_text(imported + script.replace('"../', '"tympan/'))
    node(project, "typescript/bin/tsc", "--strict", "false", "-p", ".")


@pytest.mark.parametrize(
    ("name", "module", "member"),
    [("Tympan", "tympan", "transcribe"), ("SpeechRecognition", "speech-recognition", "abort")],
)
def test_types_have_every_public_member_of_the_scripts(name: str, module: str, member: str) -> None:
    source = (ROOT / "static" / f"{module}.js").read_text("utf-8")
    body = source[source.index(f"class {name} ") :].split("\n}\n")[0]
    members = set(re.findall(r"^  (?:static |async |get )*(\w+)(?: = .*;|\(.*\) \{)", body, re.MULTILINE))
    assert member in members
    types = (ROOT / "npm" / f"{module}.d.ts").read_text("utf-8")
    declared = set(re.findall(r"^  (?:static |readonly |get )*(\w+)[:(]", types, re.MULTILINE))
    assert members - {"constructor", "open", "connect"} <= declared  # the last two are for Tympan's own scripts


def test_a_bundled_page_uses_the_package_of_another_origin(
    project: Path, package: Path, tympan_browser: OpenBrowser
) -> None:
    node(project, "vite/bin/vite.js", "build", "--logLevel", "warn")
    shutil.copy(SPEECH, project / "dist" / "speech.wav")
    with serving(package) as site, serving(project / "dist") as url:
        page = tympan_browser().new_context().new_page()
        page.goto(f"{url}/?site={site}")
        page.set_default_timeout(TRANSCRIBE_MS)
        result = page.evaluate("result")
        page.context.close()
    assert result["title"] == "Tympan demo, English"
    assert word_error_rate(SAID, result["text"]) <= MAX_WORD_ERROR_RATE
    assert " ".join(word["text"] for word in result["words"]) == result["text"]
    assert (result["available"], result["track"], result["refused"]) == ("available", "Tympan", "DownloadFailed")


def test_a_page_imports_the_package_from_another_origin(
    package: Path, tmp_path: Path, tympan_browser: OpenBrowser
) -> None:
    """As from a CDN: the folder of the module is the site."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    with serving(package) as site, serving(tmp_path) as url:
        page = tympan_browser().new_context().new_page()
        page.goto(url)
        call = "async (url) => (await (await import(url)).loadTympan({ backend: 'simd' })).ready"
        loaded = page.evaluate(call, f"{site}/index.js")
        page.context.close()
    assert (loaded["title"], loaded["backend"]) == ("Tympan demo, English", "simd")
