"""Sessions in IndexedDB: transcripts in one object store, their audio in another, both by the session's number.

Every method raises JsError if the browser denies access to the database, as in some private windows.
"""

import json

from pyscript import window
from pyscript.ffi import to_js

from tympan.browser.promises import settled

DATABASE = "tympan"
VERSION = 1
SESSIONS, AUDIO = "sessions", "sounds"  # names of the object stores


class SessionStore:
    """Reads and writes sessions: JSON objects of name, date, seconds, words, languages and has_sound."""

    def __init__(self):
        self._database = None

    async def all(self):
        """All sessions as (number, session), newest first."""
        store = await self._store(SESSIONS, "readonly")
        asked = [
            _promised(store.getAllKeys()),
            _promised(store.getAll()),
        ]  # both before the first await, which ends the transaction
        keys, values = await settled(asked[0]), await settled(asked[1])
        return [(int(keys[i]), json.loads(str(values[i]))) for i in range(keys.length - 1, -1, -1)]

    async def put(self, session, number=None, audio=None):
        """Store a session, and replace the one of that number if it has one.

        session: as JSON text. audio: a Blob, or None.
        Returns the session's number.
        """
        store = await self._store(SESSIONS, "readwrite")
        number = int(await _done(store.add(session) if number is None else store.put(session, number)))
        if audio:
            store = await self._store(AUDIO, "readwrite")
            await _done(store.put(audio, number))
        return number

    async def audio(self, number):
        """The audio of a session, a Blob, or None."""
        return await _done((await self._store(AUDIO, "readonly")).get(number))

    async def delete(self, number):
        """Delete a session and its audio."""
        for name in (SESSIONS, AUDIO):
            store = await self._store(name, "readwrite")
            await _done(store.delete(number))

    async def _store(self, name, mode):
        if self._database is None:
            self._database = await settled(_open_database())
        return self._database.transaction(name, mode).objectStore(name)


def _open_database():
    """A promise of the database. With cookies blocked, Firefox throws from `open`, which rejects the promise.

    `prepare` returns nothing, as MicroPython 1.27 may free what it returns to JavaScript.
    """

    def settle(resolve, reject):
        def prepare(request):
            request.onupgradeneeded = _make_stores
            _settle(request, resolve, reject)

        window.Promise.resolve(VERSION).then(open_version).then(prepare, reject)

    open_version = window.indexedDB.open.bind(window.indexedDB, DATABASE)
    return window.Promise.new(settle)


def _make_stores(event):
    database = event.target.result
    database.createObjectStore(SESSIONS, to_js({"autoIncrement": True}))
    database.createObjectStore(AUDIO)


def _promised(request):
    """A promise of the result of an IDBRequest."""
    return window.Promise.new(lambda resolve, reject: _settle(request, resolve, reject))


def _settle(request, resolve, reject):
    """Settle a promise when an IDBRequest is done."""
    request.onsuccess = lambda event: resolve(request.result)
    request.onerror = lambda event: reject(request.error)


async def _done(request):
    """Await the result of an IDBRequest. Raises JsError."""
    return await settled(_promised(request))
