"""The list of stored sessions: open, rename, delete, undo."""

import asyncio
import json

from pyscript import window

from tympan.browser.elements import button, element, made
from tympan.browser.language import language
from tympan.browser.promises import JsError
from tympan.browser.session_store import SessionStore

SAVE_INTERVAL_MS = 15_000  # while a recording is in progress


class Sessions:
    """The sessions on this device, newest first."""

    def __init__(self, on_open, on_error):
        """on_open: called with a session and its audio, a Blob or None. on_error: called when one cannot be stored."""
        self._store, self._on_open, self._on_error = SessionStore(), on_open, on_error
        self._sessions = []  # (number, session)
        self._lock = asyncio.Lock()  # held while a session is written
        self._saved_ms = -SAVE_INTERVAL_MS
        self._deleted = None  # (number, session, audio) of the last one, while it can be undone
        self._renaming = None  # number of the session whose name is being edited
        language.on_change.append(self._show)

    async def load(self):
        """Read the list. Returns False if the browser denies access to the database."""
        try:
            self._sessions = await self._store.all()
        except JsError:
            return False
        self._show()
        return True

    def enable(self, is_enabled):
        """Allow or forbid to open and change sessions."""
        element("session-choice").disabled = not is_enabled

    def note(self, recording):
        """Store a recording in progress every SAVE_INTERVAL_MS: its tab may be closed or crash."""
        now_ms = window.performance.now()
        if recording.is_kept and recording.words and now_ms - self._saved_ms >= SAVE_INTERVAL_MS:
            self._saved_ms = now_ms
            asyncio.create_task(self._write(recording))

    async def keep(self, recording, audio):
        """Store a finished recording, and its audio if "Keep audio" is checked."""
        recording.has_sound = bool(element("keep-audio").checked)
        if not await self._write(recording, audio if recording.has_sound else None):
            self._on_error()
        self._saved_ms = -SAVE_INTERVAL_MS
        self._deleted = None
        await self.load()

    async def _write(self, recording, audio=None):
        """Store a recording as it is now. Returns whether the browser did."""
        async with self._lock:
            try:
                recording.number = await self._store.put(recording.to_json(), recording.number, audio)
            except JsError:
                return False
        return True

    async def _open(self, number, session):
        audio = await self._store.audio(number) if session["has_sound"] else None
        self._on_open(session, audio)

    async def _rename(self, number, session, name):
        self._renaming = None
        if name:
            await self._store.put(json.dumps(dict(session, name=name)), number)
        await self.load()
        self._focus(number, ".rename")

    async def _delete(self, number, session):
        self._deleted = number, session, await self._store.audio(number)
        await self._store.delete(number)
        await self.load()
        element("undo").focus()

    async def _undo(self):
        if not self._deleted:  # it was pressed twice
            return
        number, session, audio = self._deleted
        self._deleted = None
        await self._store.put(json.dumps(session), number, audio)
        await self.load()
        self._focus(number, ".delete")

    def _show(self):
        entries = []
        if self._deleted:
            note = made("li", language.text("deleted", name=self._deleted[1]["name"]), className="deleted")
            note.append(button(language.text("undo"), _later(self._undo), id="undo", className="small"))
            entries.append(note)
        for number, session in self._sessions:
            renames = number == self._renaming
            entries.append(self._form(number, session) if renames else self._entry(number, session))
        element("session-list").replaceChildren(*entries)
        element("no-sessions").hidden = bool(entries)

    def _entry(self, number, session):
        name = session["name"]
        facts = [language.date(session["date"]), language.duration(session["seconds"])]
        if session["has_sound"]:
            facts.append(language.text("with_audio"))
        opens = button(name, _later(self._open, number, session), className="name")
        renames = button(language.text("rename"), lambda: self._begin_rename(number), className="small rename")
        renames.setAttribute("aria-label", language.text("rename_session", name=name))
        deletes = button(language.text("delete"), _later(self._delete, number, session), className="small delete")
        deletes.setAttribute("aria-label", language.text("delete_session", name=name))
        entry = made("li", id=f"session-{number}")
        entry.append(opens, made("span", " · ".join(facts), className="facts"), renames, deletes)
        return entry

    def _form(self, number, session):
        form = made("form")
        field = made("input", value=session["name"], required=True, autocomplete="off")
        field.setAttribute("aria-label", language.text("new_name", name=session["name"]))

        def submit(event):
            event.preventDefault()
            asyncio.create_task(self._rename(number, session, str(field.value).strip()))

        def press(event):
            if event.key == "Escape":
                asyncio.create_task(self._rename(number, session, ""))

        form.addEventListener("submit", submit)
        form.addEventListener("keydown", press)
        form.append(field, made("button", language.text("save"), className="small"))
        entry = made("li", id=f"session-{number}")
        entry.append(form)
        return entry

    def _begin_rename(self, number):
        self._renaming, self._deleted = number, None
        self._show()
        field = element(f"session-{number}").querySelector("input")
        field.focus()
        field.select()

    def _focus(self, number, selector):
        entry = element(f"session-{number}")
        if entry:
            entry.querySelector(selector).focus()


def _later(coroutine, *arguments):
    """A function without arguments that starts `coroutine(*arguments)`."""
    return lambda: asyncio.create_task(coroutine(*arguments))
