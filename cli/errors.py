"""What the command line can refuse to do. Every message is one sentence for the terminal."""

from __future__ import annotations


class CommandError(Exception):
    """A command failed for a reason outside of Tympan; `str(error)` says which, in one line."""
