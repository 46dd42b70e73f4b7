"""Sessions in the browser's own database, on this device: transcripts in one store, their sound in another.

They are asked for by number. A database that cannot be had, as in some private windows, raises JsError.
"""

import json

from pyscript import window

from tympan.browser.promises import settled

DATABASE = "tympan"
VERSION = 1
SESSIONS, SOUNDS = "sessions", "sounds"


class SessionStore:
    """Reads and writes sessions: dicts of name, date, seconds, words, languages and has_sound."""

    def __init__(self):
        self._database = None

    async def all(self):
        """Every session by its number, newest first."""
        store = await self._store(SESSIONS, "readonly")
        asked = [_promised(store.getAllKeys()), _promised(store.getAll())]  # both now: a transaction waits for nobody
        keys, values = await settled(asked[0]), await settled(asked[1])
        return [(int(keys[i]), json.loads(str(values[i]))) for i in range(keys.length - 1, -1, -1)]

    async def put(self, session, number=None, sound=None):
        """Keep a session, in place of the one of that number where it has one, and its sound where there is some.

        Returns its number.
        """
        store, text = await self._store(SESSIONS, "readwrite"), json.dumps(session)
        number = int(await _done(store.add(text) if number is None else store.put(text, number)))
        if sound:
            store = await self._store(SOUNDS, "readwrite")
            await _done(store.put(sound, number))
        return number

    async def sound(self, number):
        """The sound of a session, a Blob, or None."""
        return await _done((await self._store(SOUNDS, "readonly")).get(number))

    async def delete(self, number):
        """Forget a session and its sound."""
        for name in (SESSIONS, SOUNDS):
            store = await self._store(name, "readwrite")
            await _done(store.delete(number))

    async def _store(self, name, mode):
        if self._database is None:
            request = window.indexedDB.open(DATABASE, VERSION)
            request.onupgradeneeded = _make_stores
            self._database = await _done(request)
        return self._database.transaction(name, mode).objectStore(name)


def _make_stores(event):
    database = event.target.result
    database.createObjectStore(SESSIONS, window.JSON.parse('{"autoIncrement": true}'))
    database.createObjectStore(SOUNDS)


def _promised(request):
    """A promise of what a request of the database results in."""

    def settle(resolve, reject):
        request.onsuccess = lambda event: resolve(request.result)
        request.onerror = lambda event: reject(request.error)

    return window.Promise.new(settle)


async def _done(request):
    """Wait for a request of the database: its result. Raises JsError."""
    return await settled(_promised(request))
