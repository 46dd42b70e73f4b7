"""The command `tympan shader`."""

from __future__ import annotations

import pytest

from tympan.cli.main import main
from tympan.cli.shader import VARIABLES
from tympan.gpu.shaders import compose, shader_folder


def test_prints_the_shader_with_the_source_of_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shader", "qkv", "--format", "q8", "--kv-format", "f32", "--lanes", "subgroup"]) == 0
    printed = capsys.readouterr().out.splitlines()

    variables = {"format": "q8", "arithmetic": "floats", "kv_format": "f32", "lanes": "subgroup"}
    shader = compose("qkv", variables)
    assert len(printed) == len(shader.lines)
    for number, (line, wanted) in enumerate(zip(printed, shader.lines, strict=True), start=1):
        assert line.startswith(wanted)
        assert line.endswith(f"  // {shader.origin_of(number)}")
    files = {line.rsplit("// ", 1)[1].split(":")[0] for line in printed}
    assert {"qkv.wgsl", "matrix_q8.wgsl", "kv_cache_f32.wgsl", "lanes_subgroup.wgsl", "rows.wgsl"} <= files


def test_unknown_shader_is_an_error_that_lists_the_shaders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shader", "nosuch"]) == 1
    assert "there is no shader nosuch.wgsl; there are: attention.wgsl, decode.wgsl, " in capsys.readouterr().err


def test_unknown_format_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["shader", "qkv", "--format", "q5"])
    assert "'q4', 'q8', 'f32'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "prefix"),
    [
        ("format", "matrix_"),
        ("arithmetic", "q4_"),
        ("lanes", "lanes_"),
        ("kv_format", "kv_cache_"),
        ("weights", "mimi_weights_"),
        ("input", "mimi_input_"),
        ("output", "mimi_output_"),
    ],
)
def test_the_options_offer_the_files_that_exist(variable: str, prefix: str) -> None:
    files = {path.stem.removeprefix(prefix) for path in shader_folder().glob(f"{prefix}*.wgsl")}
    assert files == set(VARIABLES[variable])
