"""The queue: what is to be transcribed when its turn comes, each with a button to take it out."""

from tympan.browser.elements import button, element, made
from tympan.browser.language import language


class JobQueue:
    """The list of what waits. Who joined asks with `leave` whether it is still wanted."""

    def __init__(self):
        self._names = {}  # by number
        self._n_joined = 0
        language.on_change.append(self._show)

    def join(self, name, on_removed=None):
        """Put something at the end; returns its number. on_removed: called if a person takes it out."""
        self._n_joined += 1
        self._names[self._n_joined] = name, on_removed
        self._show()
        return self._n_joined

    def leave(self, number):
        """Its turn has come. Returns whether it was still in the queue."""
        was_there = self._names.pop(number, None) is not None
        self._show()
        return was_there

    def _remove(self, number):
        _, on_removed = self._names.pop(number)
        if on_removed:
            on_removed()
        self._show()

    def _show(self):
        entries = []
        for number in sorted(self._names):
            name = self._names[number][0]
            entry = made("li", name)
            remove = button("×", lambda number=number: self._remove(number), className="small")
            remove.setAttribute("aria-label", language.text("remove_job", name=name))
            entry.append(remove)
            entries.append(entry)
        element("queue-list").replaceChildren(*entries)
        element("queue").hidden = not entries
