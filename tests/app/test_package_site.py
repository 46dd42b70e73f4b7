"""The modules of the page thread, made importable from the files of a wheel."""

from __future__ import annotations

import re
from pathlib import Path

from tympan.cli.site_files import protocol_module
from tympan.embed.package_site import package_site, page_bridge_url

ROOT = Path(__file__).parents[2]


def test_a_checkout_has_no_site_in_the_package() -> None:
    assert package_site() is None


def test_every_address_in_the_modules_is_replaced(tmp_path: Path) -> None:
    """Modules of Blobs have no relative addresses."""
    (tmp_path / "bridge").mkdir()
    for path in (ROOT / "static" / "bridge").glob("*.js"):
        (tmp_path / "bridge" / path.name).write_text(path.read_text("utf-8"), "utf-8")
    (tmp_path / "bridge" / "protocol.js").write_text(protocol_module(ROOT), "utf-8")
    modules: dict[str, str] = {}

    def to_url(text: str) -> str:
        modules[f"blob:{len(modules)}"] = text
        return f"blob:{len(modules) - 1}"

    last = page_bridge_url(tmp_path, "channel-7", to_url)

    assert 'new BroadcastChannel("channel-7")' in modules[last]
    for url, text in modules.items():
        assert "import.meta" not in text
        for address in re.findall(r'^import .*"(.*)";$|addModule\("(.*)"\)', text, re.MULTILINE):
            assert "".join(address) in modules, url
    worklets = [text for text in modules.values() if "registerProcessor" in text]
    assert len(worklets) == 1
