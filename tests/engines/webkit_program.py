"""A browser of WebKitGTK that a test drives, with Debian's own Python, which has GTK.

    python3 webkit_program.py FOLDER [--private] < commands > answers

Commands and answers are JSON, one a line; so are the requests of the pages, between the answers. FOLDER is that of the
profile, where --private keeps nothing. Every permission is granted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import GLib, Gtk, WebKit2  # noqa: E402

FEATURES = ("StorageAPI", "StorageAPIEstimate")  # which Safari has, and WebKitGTK leaves off
SIZE = (1280, 720)


class Browser:
    """One profile and its pages."""

    def __init__(self, folder: str, is_private: bool) -> None:
        if is_private:
            self.context = WebKit2.WebContext.new_ephemeral()
        else:
            data = WebKit2.WebsiteDataManager(base_data_directory=folder, base_cache_directory=f"{folder}/cache")
            self.context = WebKit2.WebContext.new_with_website_data_manager(data)
        self.context.connect("download-started", self.save_download)
        self.folder = folder
        self.pages: dict[int, WebKit2.WebView] = {}
        self.files: dict[int, list[str]] = {}
        self.scripts: list[str] = []

    def handle(self, command: dict[str, Any]) -> None:
        """Start a command. Its answer may come later."""

        def answer(value: Any = None, error: str | None = None) -> None:
            _print(id=command["id"], value=value, error=error)

        try:
            getattr(self, f"do_{command['do']}")(answer, **command["values"])
        except Exception as error:
            answer(error=repr(error))

    def do_add_script(self, answer: Callable[..., None], source: str) -> None:
        """Run a script in every page that is opened later, before its own."""
        self.scripts.append(source)
        answer()

    def do_open(self, answer: Callable[..., None], page: int) -> None:
        """Create an empty page with this number."""
        content = WebKit2.UserContentManager()
        for source in self.scripts:
            content.add_script(_user_script(source))
        view = WebKit2.WebView(web_context=self.context, user_content_manager=content)
        settings = view.get_settings()
        settings.set_enable_media_stream(True)
        settings.set_enable_webrtc(True)
        settings.set_media_playback_requires_user_gesture(True)
        features = WebKit2.Settings.get_all_features()
        for feature in (features.get(i) for i in range(features.get_length())):
            if feature.get_identifier() in FEATURES:
                settings.set_feature_enabled(feature, True)
        view.connect("permission-request", lambda _, request: request.allow() or True)
        view.connect("run-file-chooser", lambda _, request: request.select_files(self.files[page]) or True)
        view.connect("script-dialog", lambda *_: True)
        view.connect("resource-load-started", lambda _, resource, request: _print(page=page, request=request.get_uri()))
        window = Gtk.Window()
        window.set_default_size(*SIZE)
        window.add(view)
        window.show_all()
        self.pages[page] = view
        answer()

    def do_page_script(self, answer: Callable[..., None], page: int, source: str) -> None:
        """Run a script at every later load of one page, before its own."""
        self.pages[page].get_user_content_manager().add_script(_user_script(source))
        answer()

    def do_goto(self, answer: Callable[..., None], page: int, url: str) -> None:
        """Load an address, or the same one again, and answer when it is loaded."""
        view = self.pages[page]

        def follow(_: WebKit2.WebView, event: WebKit2.LoadEvent) -> None:
            if event == WebKit2.LoadEvent.FINISHED:
                view.disconnect(handler)
                answer()

        handler = view.connect("load-changed", follow)
        if url:
            view.load_uri(url)
        else:
            view.reload()

    def do_evaluate(self, answer: Callable[..., None], page: int, body: str) -> None:
        """Run the body of an async function, which returns a string, and answer with that."""

        def finish(view: WebKit2.WebView, result: Any) -> None:
            try:
                answer(view.call_async_javascript_function_finish(result).to_string())
            except GLib.Error as error:
                answer(error=error.message)

        self.pages[page].call_async_javascript_function(body, -1, None, None, None, None, finish)

    def do_choose(self, answer: Callable[..., None], page: int, paths: list[str]) -> None:
        """Set what the user chooses when the page asks for files."""
        self.files[page] = paths
        answer()

    def do_url(self, answer: Callable[..., None], page: int) -> None:
        answer(self.pages[page].get_uri())

    def do_version(self, answer: Callable[..., None]) -> None:
        parts = (WebKit2.get_major_version(), WebKit2.get_minor_version(), WebKit2.get_micro_version())
        answer(".".join(map(str, parts)))

    def do_close(self, answer: Callable[..., None], page: int) -> None:
        self.pages.pop(page).get_toplevel().destroy()
        answer()

    def save_download(self, _: WebKit2.WebContext, download: WebKit2.Download) -> None:
        def decide(download: WebKit2.Download, name: str) -> bool:
            download.set_destination(f"file://{self.folder}/downloads/{name}")
            return True

        download.connect("decide-destination", decide)


def _print(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def _user_script(source: str) -> WebKit2.UserScript:
    frames, time = WebKit2.UserContentInjectedFrames.ALL_FRAMES, WebKit2.UserScriptInjectionTime.START
    return WebKit2.UserScript(source, frames, time, None, None)


def main() -> None:
    browser = Browser(sys.argv[1], is_private="--private" in sys.argv)

    def read(channel: GLib.IOChannel, _: GLib.IOCondition) -> bool:
        line = sys.stdin.readline()
        if not line:
            Gtk.main_quit()
            return False
        browser.handle(json.loads(line))
        return True

    GLib.io_add_watch(GLib.IOChannel.unix_new(sys.stdin.fileno()), GLib.IOCondition.IN | GLib.IOCondition.HUP, read)
    Gtk.main()


if __name__ == "__main__":
    main()
