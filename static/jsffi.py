"""MicroPython's module `jsffi`, for workers with PyScript 0.7 and Pyodide 0.27.

PyScript's package `pyscript` imports `pyodide.ffi.jsnull`, which Pyodide has since 0.28, and otherwise `jsffi`. Without
this module, `import pyscript` fails in such a worker. Pyodide 0.28 and newer do not need it.
"""

from functools import partial

from js import Object
from pyodide import ffi

create_proxy = ffi.create_proxy
to_js = partial(ffi.to_js, dict_converter=Object.fromEntries)  # a dict becomes an object, as in MicroPython
