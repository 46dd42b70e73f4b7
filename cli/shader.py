"""`tympan shader`: prints a composed shader with the source file and line of each of its lines."""

from __future__ import annotations

import argparse

from tympan.cli.errors import CommandError

# The values of the variables in the shaders' include lines; the first is the default.
VARIABLES = {
    "format": ("q4", "q8", "f32"),
    "arithmetic": ("floats", "integers"),
    "lanes": ("tree", "subgroup"),
    "kv_format": ("f16", "f32"),
    "weights": ("f32", "f16", "i8"),
    "input": ("plain", "history", "norm"),
    "output": ("rows", "history", "qkv"),
}

_HELP = {
    "format": "of the matrix",
    "arithmetic": "of the multiplication by Q4",
    "lanes": "how the lanes of a group add up their sums",
    "kv_format": "of the KV cache",
    "weights": "Mimi: format of the matrix or of the codebooks",
    "input": "Mimi: how the rows of a product are read",
    "output": "Mimi: how its result is written",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    command.description = (
        "Print a composed shader as WGSL. The comment at the end of each line names the source file and line. The "
        "options select the files that are included."
    )
    command.add_argument("name", metavar="NAME", help="a file of shaders/ without its suffix, such as qkv")
    for name, values in VARIABLES.items():
        option = f"--{name.replace('_', '-')}"
        help_text = f"{_HELP[name]}; default: %(default)s"
        command.add_argument(option, dest=name, choices=values, default=values[0], help=help_text)
    command.set_defaults(run=print_shader)


def print_shader(options: argparse.Namespace) -> bool:
    """Run the command. Raises CommandError when the shader cannot be composed."""
    from tympan.gpu.shaders import ShaderError, compose  # other commands do not need it

    try:
        shader = compose(options.name, {name: getattr(options, name) for name in VARIABLES})
    except ShaderError as error:
        raise CommandError(str(error)) from error
    print(shader.annotated, end="")
    return True
