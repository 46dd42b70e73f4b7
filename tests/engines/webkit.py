"""WebKitGTK, with the part of Playwright's API that the tests of the page use.

Playwright drives only a WebKit of its own. So `webkit_program.py` shows the pages on a virtual screen, and these
classes send it commands. Names, arguments and results are those of Playwright.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

from playwright.sync_api import Error, TimeoutError

from tests.engines.engine import Engine
from tests.engines.pulse import Pulse
from tympan.cli.errors import CommandError

Payload: TypeAlias = Mapping[str, Any]

PROGRAM = Path(__file__).with_name("webkit_program.py")
PYTHON = "/usr/bin/python3"  # Debian's, which has GTK
SCREEN = ("xvfb-run", "--auto-servernum", "--server-args=-screen 0 1280x720x24")
DEFAULT_MS = 30_000
POLL_MS = 50
FUNCTION = re.compile(r"\s*(async\s+)?(function\b|\([^()]*\)\s*=>|\w+\s*=>)")
# The elements in a root that match a CSS selector, of which the end may be :has-text('...').
FIND = r"""
    function find(root, selector) {
        const [, css, text] = selector.match(/^(.*?)(?::has-text\('(.*)'\))?$/s);
        const found = [...root.querySelectorAll(css)];
        return text === undefined ? found : found.filter(({ textContent }) => (
            textContent.replace(/\s+/g, " ").toLowerCase().includes(text.toLowerCase())
        ));
    }
"""


class WebKit(Engine):
    name = "webkit"
    simd = "simd"

    def launch(self, *, webgpu: bool = True, microphone: Path | None = None, private: bool = False) -> Any:
        """webgpu: WebKitGTK has none."""
        return Browser(microphone, private)

    def context_without_site_data(self, folder: Path) -> Any:
        raise NotImplementedError("WebKitGTK has no such setting")

    def download(self, page: Any, start: Callable[[], None]) -> Path:
        folder = page.context.folder / "downloads"
        before = set(folder.iterdir())
        start()
        return _until(lambda: next(iter(set(folder.iterdir()) - before), None), DEFAULT_MS, "no file was saved")


class Browser:
    """A sound server, and a program for each context."""

    def __init__(self, microphone: Path | None, is_private: bool) -> None:
        if shutil.which(SCREEN[0]) is None:
            raise CommandError("xvfb-run is missing. Run bootstrap.py --engines as root, or install the package xvfb.")
        self._pulse = Pulse(microphone)
        self._is_private = is_private
        self._contexts: list[Context] = []

    @property
    def version(self) -> str:
        return str(self.new_context().command("version"))

    def new_context(self, **options: Any) -> Context:
        """options: only those that block service workers or grant permissions, which are granted anyway."""
        assert set(options) <= {"service_workers", "permissions"}, options
        self._contexts.append(Context(self._pulse.environment, self._is_private))
        if options.get("service_workers") == "block":
            self._contexts[-1].add_init_script("delete Navigator.prototype.serviceWorker;")
        return self._contexts[-1]

    def new_page(self, **options: Any) -> Page:
        return self.new_context(**options).new_page()

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._pulse.stop()


class Context:
    """A profile and its pages. A private one keeps what sites store in memory."""

    def __init__(self, environment: Mapping[str, str], is_private: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tympan-webkit-"))
        (self.folder / "downloads").mkdir()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._program = subprocess.Popen(
            [*SCREEN, PYTHON, str(PROGRAM), str(self.folder), *(["--private"] if is_private else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Without the last compiler tier, which compiles the kernels for most of a minute.
            env={**inherited, **environment, "JSC_useOMGJIT": "0", "NO_AT_BRIDGE": "1", "GDK_BACKEND": "x11"},
        )
        self._numbers = itertools.count()
        self._listeners: dict[int, list[Callable[[Any], None]]] = defaultdict(list)
        self._is_closed = False

    def new_page(self) -> Page:
        page = next(self._numbers)
        self.command("open", page=page)
        return Page(self, page)

    def add_init_script(self, script: str) -> None:
        self.command("add_script", source=script)

    def listen(self, page: int, listener: Callable[[Any], None]) -> None:
        """Call a listener with every request of a page, once the next command is sent."""
        self._listeners[page].append(listener)

    def _report(self, page: int, request: str) -> None:
        for listener in self._listeners[page]:
            listener(SimpleNamespace(url=request))

    def command(self, do: str, **values: Any) -> Any:
        """Send a command and wait for its answer. Raises Playwright's Error with its error."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        number = next(self._numbers)
        print(json.dumps({"id": number, "do": do, "values": values}), file=self._program.stdin, flush=True)
        answer: dict[str, Any] = {}
        while "id" not in answer:
            if answer:
                self._report(**answer)
            line = self._program.stdout.readline()
            if not line:
                raise Error(f"WebKitGTK ended during {do}.")
            answer = json.loads(line)
        assert answer["id"] == number, (answer, number)
        if answer["error"] is not None:
            raise Error(answer["error"])
        return answer["value"]

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        self._program.wait()
        self._program.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Page:
    """A page. Selectors are those of CSS; the last one may end with :has-text('...')."""

    def __init__(self, context: Context, number: int) -> None:
        self.context, self._number = context, number
        self._command = context.command

    @property
    def url(self) -> str:
        return str(self._command("url", page=self._number))

    def on(self, event: str, listener: Callable[..., None]) -> None:
        """Call a listener with each request. Those of workers are not among them, and there are no other events."""
        assert event == "request", event
        self.context.listen(self._number, listener)

    def goto(self, url: str) -> None:
        self._command("goto", page=self._number, url=url)

    def reload(self) -> None:
        self.goto("")

    def add_init_script(self, script: str) -> None:
        self._command("page_script", page=self._number, source=script)

    def evaluate(self, source: str, argument: Any = None) -> Any:
        """Return the value of a function or an expression; None of statements."""
        value = f"({source})({json.dumps(argument)})" if FUNCTION.match(source) else f"({source})"
        body = f"const value_ = await {value}; return JSON.stringify(value_) ?? 'null';"
        try:
            return json.loads(self._command("evaluate", page=self._number, body=body))
        except Error as error:
            if not error.message.startswith("SyntaxError"):
                raise
        return json.loads(self._command("evaluate", page=self._number, body=f"{source}\nreturn 'null';"))

    def wait_for_function(self, source: str, timeout: float = DEFAULT_MS) -> None:
        _until(lambda: self.evaluate(source), timeout, source)

    def wait_for_selector(self, selector: str, state: str = "visible", timeout: float = DEFAULT_MS) -> None:
        self.locator(selector).first.wait_for(state=state, timeout=timeout)

    def wait_for_timeout(self, ms: float) -> None:
        time.sleep(ms / 1000)

    def locator(self, selector: str, has_text: str = "") -> Locator:
        return Locator(self, [f"{selector}:has-text('{has_text}')" if has_text else selector])

    def click(self, selector: str) -> None:
        self.locator(selector).click()

    def fill(self, selector: str, value: str) -> None:
        self.locator(selector).run("(element.focus(), element.value = argument, null)", value)

    def inner_text(self, selector: str) -> str:
        return self.locator(selector).inner_text()

    def get_attribute(self, selector: str, name: str) -> str | None:
        return self.locator(selector).get_attribute(name)

    def is_visible(self, selector: str) -> bool:
        return self.locator(selector).is_visible()

    def is_hidden(self, selector: str) -> bool:
        return not self.is_visible(selector)

    def is_disabled(self, selector: str) -> bool:
        return bool(self.locator(selector).run("element.disabled"))

    def set_input_files(self, selector: str, file: Path | str | Payload) -> None:
        if isinstance(file, Mapping):
            path = Path(tempfile.mkdtemp(dir=self.context.folder)) / file["name"]
            path.write_bytes(file["buffer"])
        else:
            path = Path(file)
        self._command("choose", page=self._number, paths=[str(path.resolve())])
        self.locator(selector).run("(element.click(), null)")

    def close(self) -> None:
        self._command("close", page=self._number)


class Locator:
    """Elements of a page: those that match each step of a path within those of the step before.

    A step is a selector or the index of one element.
    """

    def __init__(self, page: Page, path: Sequence[str | int]) -> None:
        self._page, self._path = page, list(path)

    @property
    def first(self) -> Locator:
        return self.nth(0)

    @property
    def last(self) -> Locator:
        return self.nth(-1)

    def nth(self, index: int) -> Locator:
        return Locator(self._page, [*self._path, index])

    def locator(self, selector: str) -> Locator:
        return Locator(self._page, [*self._path, selector])

    def run(self, expression: str, argument: Any = None, timeout: float = DEFAULT_MS) -> Any:
        """Wait for an element and evaluate an expression with it as `element`."""
        source = f"found.length ? {{ value: ({expression}) ?? null }} : null"
        answer = _until(lambda: self._found(source, argument), timeout, f"no {self._path}")
        return answer["value"]

    def count(self) -> int:
        return int(self._found("found.length"))

    def all_inner_texts(self) -> list[str]:
        return list(self._found("found.map(({ innerText }) => innerText)"))

    def inner_text(self) -> str:
        return str(self.run("element.innerText"))

    def get_attribute(self, name: str) -> str | None:
        value: str | None = self.run("element.getAttribute(argument)", name)
        return value

    def is_visible(self) -> bool:
        return bool(self._found("found.length && found[0].checkVisibility()"))

    def click(self) -> None:
        self.run("(element.scrollIntoView(), element.click(), null)")

    def wait_for(self, state: str = "visible", timeout: float = DEFAULT_MS) -> None:
        is_there = (lambda: self.count() > 0) if state == "attached" else self.is_visible
        _until(is_there, timeout, f"no {self._path} is {state}")

    def _found(self, expression: str, argument: Any = None) -> Any:
        return self._page.evaluate(
            f"""([path, argument]) => {{
                let found = [document];
                for (const step of path) {{
                    if (typeof step === "number") found = [found.at(step)].filter(Boolean);
                    else found = found.flatMap((root) => find(root, step));
                }}
                const [element] = found;
                return {expression};
                {FIND}
            }}""",
            [self._path, argument],
        )


def _until(is_done: Callable[[], Any], timeout_ms: float, what: str) -> Any:
    """Ask again until the answer is true, and return it. Raises Playwright's TimeoutError."""
    deadline = time.monotonic() + timeout_ms / 1000
    while not (answer := is_done()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Timeout {timeout_ms} ms exceeded: {what}")
        time.sleep(POLL_MS / 1000)
    return answer
