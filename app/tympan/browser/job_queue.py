"""The queue of recordings to transcribe, each with a button that removes it."""

from tympan.browser.elements import button, element, made
from tympan.browser.language import language


class JobQueue:
    """The list of waiting jobs. A job calls `leave` when it can start, to learn whether it was removed."""

    def __init__(self):
        self._jobs = {}  # (name, on_removed) by number
        self._n_joined = 0
        language.on_change.append(self._show)

    def join(self, name, on_removed=None):
        """Add a job. on_removed: called if it is removed from the queue. Returns the job's number."""
        self._n_joined += 1
        self._jobs[self._n_joined] = name, on_removed
        self._show()
        return self._n_joined

    def leave(self, number):
        """Take a job off the queue to start it. Returns False if it was removed before."""
        was_waiting = self._jobs.pop(number, None) is not None
        self._show()
        return was_waiting

    def _remove(self, number):
        _, on_removed = self._jobs.pop(number)
        if on_removed:
            on_removed()
        self._show()

    def _show(self):
        entries = []
        for number in sorted(self._jobs):
            name = self._jobs[number][0]
            entry = made("li", name)
            remove = button("×", lambda number=number: self._remove(number), className="small")
            remove.setAttribute("aria-label", language.text("remove_job", name=name))
            entry.append(remove)
            entries.append(entry)
        element("queue-list").replaceChildren(*entries)
        element("queue").hidden = not entries
