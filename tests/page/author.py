"""Pages of another author: on their own origin, with Tympan from another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tympan.cli.server import serving
from tympan.cli.site import ROOT

BLANK = '<!doctype html><html><meta charset="utf-8"><title>Somebody</title></html>'


@contextmanager
def author_site(folder: Path, site: str) -> Iterator[str]:
    """Serve static/examples/ as an author would have them, with whole addresses, and an empty page blank.html.

    Those in JavaScript run on numpy, to spare the machine WebGPU in software.

    folder: to put them into. site: the address of the Tympan site. Yields the address of the author's.
    """
    for example in (ROOT / "static" / "examples").glob("*.html"):
        page = example.read_text().replace("../", f"{site}/")
        page = page.replace("embed.js?", "embed.js?backend=numpy&").replace("captions.js", "captions.js?backend=numpy")
        (folder / example.name).write_text(page)
    (folder / "blank.html").write_text(BLANK)
    (folder / "speech.wav").write_bytes((ROOT / "tests" / "golden" / "speech.wav").read_bytes())
    with serving(folder) as url:
        assert url != site
        yield url
