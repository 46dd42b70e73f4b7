"""The error type of the command line. Every message is one sentence for the terminal."""

from __future__ import annotations


class CommandError(Exception):
    """A command failed for a reason outside Tympan; `str(error)` states the reason in one line."""
