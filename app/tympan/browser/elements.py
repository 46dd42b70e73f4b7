"""Finds and creates elements of the page. Text is always set as text, never parsed as HTML."""

from pyscript import document


def element(name):
    """The element with the id `name`."""
    return document.getElementById(name)


def made(tag, text="", **attributes):
    """Create an element. attributes: properties to set on it, such as `className`."""
    new = document.createElement(tag)
    new.textContent = text
    for name, value in attributes.items():
        setattr(new, name, value)
    return new


def button(text, on_press, **attributes):
    """Create a button. on_press: called without arguments. attributes: as of `made`."""
    new = made("button", text, type="button", **attributes)
    new.addEventListener("click", lambda event: on_press())
    return new


def on(name, kind, function):
    """Add a listener for the event `kind` to the element with the id `name`."""
    element(name).addEventListener(kind, function)
