"""tympan.gpu.shaders: include lines, the map of lines to files, and driver errors in lines of the files."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Error

from tests.conftest import PyodidePage
from tympan.cli.shader import VARIABLES
from tympan.gpu.kernel import with_source_lines
from tympan.gpu.shaders import Origin, Shader, ShaderError, compose, shader_folder

MAIN = '// main\n#include "a.wgsl"\n#include "b_{kind}.wgsl"\nfn main() {}\n'


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.wgsl").write_text(text, encoding="utf-8")
    return folder


def test_included_lines_replace_the_include_line_and_keep_their_origin(tmp_path: Path) -> None:
    write(tmp_path, main=MAIN, a="fn a() {}\n", b_x='#include "a.wgsl"\n\nfn b() {}\n')
    shader = compose("main", {"kind": "x"}, tmp_path)

    assert shader.text == "// main\nfn a() {}\n\nfn b() {}\nfn main() {}\n"
    assert [str(origin) for origin in shader.origins] == [
        "main.wgsl:1", "a.wgsl:1", "b_x.wgsl:2", "b_x.wgsl:3", "main.wgsl:4",
    ]  # fmt: skip
    assert shader.origin_of(4) == Origin("b_x.wgsl", 3)
    assert shader.origin_of(0) is shader.origin_of(6) is None
    assert shader.annotated.splitlines()[1] == "fn a() {}     // a.wgsl:1"


def test_an_include_cycle_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, main='#include "a.wgsl"\n', a='\n#include "b.wgsl"\n', b='#include "a.wgsl"\n')

    with pytest.raises(
        ShaderError, match=r"^b\.wgsl:1: a\.wgsl includes itself: main\.wgsl -> a\.wgsl -> b\.wgsl -> a"
    ):
        compose("main", folder=tmp_path)


def test_a_missing_include_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, main=MAIN, a="", b_x="")

    with pytest.raises(
        ShaderError, match=r"^main\.wgsl:3: there is no shader b_y\.wgsl; there are: a\.wgsl, b_x\.wgsl, "
    ):
        compose("main", {"kind": "y"}, tmp_path)
    with pytest.raises(ShaderError, match=r"^there is no shader other\.wgsl; there are: a\.wgsl"):
        compose("other", folder=tmp_path)


def test_a_missing_variable_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, main=MAIN, a="")

    with pytest.raises(ShaderError, match=r"^main\.wgsl:3: no value was given for the variable 'kind'"):
        compose("main", folder=tmp_path)


def test_a_malformed_include_line_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, main="#include a.wgsl\n")

    with pytest.raises(ShaderError, match=r'^main\.wgsl:1: expected #include "FILE", found: #include a\.wgsl'):
        compose("main", folder=tmp_path)


LM_VARIABLES = ("format", "arithmetic", "lanes", "kv_format")
MIMI_VARIABLES = ("weights", "input", "output")
LM_KERNELS = ["embed", "qkv", "attention", "out_proj", "gate_up", "down", "head", "decode"]
MIMI_KERNELS = ["mimi_first", "mimi_product_rows", "mimi_product_tile", "mimi_attention"]


@pytest.mark.parametrize(
    ("name", "variables"),
    [*((name, LM_VARIABLES) for name in LM_KERNELS), *((name, MIMI_VARIABLES) for name in MIMI_KERNELS)],
)
def test_every_kernel_composes_with_every_combination_of_variables(name: str, variables: tuple[str, ...]) -> None:
    assert {*LM_VARIABLES, *MIMI_VARIABLES} == {*VARIABLES}
    for values in product(*(VARIABLES[variable] for variable in variables)):
        shader = compose(name, dict(zip(variables, values, strict=True)))
        assert shader.text.count("@compute") == 1
        declared = re.findall(r"^(?:fn|override|struct|alias|const) (\w+)", shader.text, re.MULTILINE)
        assert len(declared) == len(set(declared)), "declared twice"
        code = [line for line in shader.lines if line and not line.startswith("//")]
        assert "enable subgroups;" not in code[1:], "WGSL requires directives before all declarations"
        for line, origin in zip(shader.lines, shader.origins, strict=True):
            source = (shader_folder() / origin.file).read_text("utf-8").splitlines()
            assert source[origin.line - 1] == line


def test_positions_in_a_driver_message_become_source_lines() -> None:
    shader = Shader("k", ("a", "b"), (Origin("k.wgsl", 1), Origin("rows.wgsl", 7)))

    message = with_source_lines("Error while parsing WGSL: :2:5 error: expected ';'", shader)
    assert message == "Error while parsing WGSL: rows.wgsl:7:5 error: expected ';'"
    assert with_source_lines(":9:1 error: unknown", shader) == ":9:1 error: unknown"


COMPILE = """
from pathlib import Path
from tympan.gpu.device import Device
from tympan.gpu.kernel import compile_shader
from tympan.gpu.shaders import compose

folder = Path("/tmp/broken_shaders")
folder.mkdir(exist_ok=True)
for name, text in files.items():
    (folder / name).write_text(text)
device = await Device.request({})
try:
    await compile_shader(device, compose("main", folder=folder), 1, {})
finally:
    device.close()
"""


def test_driver_errors_name_the_included_file_and_its_line(pyodide_page: PyodidePage) -> None:
    files = {
        "main.wgsl": '// A test.\n\n#include "broken.wgsl"\n\n@compute @workgroup_size(1) fn main() { helper(); }\n',
        "broken.wgsl": "// first line\nfn helper() {\n    let x: u32 = 1.5;\n}\n",
    }
    with pytest.raises(Error, match=r"(?s)refused the shader main: broken\.wgsl:3:\d+: error: .*u32"):
        pyodide_page.run(COMPILE, files=files)


def test_driver_errors_after_an_include_name_the_including_file(pyodide_page: PyodidePage) -> None:
    files = {
        "main.wgsl": '#include "fine.wgsl"\n@compute @workgroup_size(1) fn main() { missing(); }\n',
        "fine.wgsl": "fn helper() {\n}\n\n",
    }
    with pytest.raises(Error, match=r"(?s)refused the shader main: main\.wgsl:2:\d+: error: .*missing"):
        pyodide_page.run(COMPILE, files=files)
