"""Elements of the page, found and made. Text is always set as text, never parsed as HTML."""

from pyscript import document


def element(name):
    return document.getElementById(name)


def made(tag, text="", **attributes):
    """A new element. attributes: properties of it, such as `className`."""
    new = document.createElement(tag)
    new.textContent = text
    for name, value in attributes.items():
        setattr(new, name, value)
    return new


def button(text, on_press, **attributes):
    new = made("button", text, type="button", **attributes)
    new.addEventListener("click", lambda event: on_press())
    return new


def on(name, kind, function):
    """Call a function, with the event, whenever it happens to an element."""
    element(name).addEventListener(kind, function)
