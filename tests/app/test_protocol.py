"""Both sides of the worker know the same messages: app/engine.py, the JavaScript bridge, and the page's Python."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

from tympan import config, errors, protocol
from tympan.cli import library
from tympan.cli.site_files import protocol_module
from tympan.protocol import ANSWERS, COMMANDS, EVENTS, REQUESTS, TRACES
from tympan.transcript import Transcript

ROOT = Path(__file__).parents[2]
ENGINE = ast.parse((ROOT / "app" / "engine.py").read_text("utf-8"))
MAIN = (ROOT / "app" / "main.py").read_text("utf-8")
PAGE = MAIN + "".join(path.read_text("utf-8") for path in (ROOT / "app" / "tympan" / "browser").glob("*.py"))
SCRIPTS = {path.name: path.read_text("utf-8") for path in (ROOT / "static").rglob("*.js")}
JAVASCRIPT = "\n".join(SCRIPTS.values())


def functions(tree: ast.AST) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    return {node.name: node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def returned_keys(name: str) -> set[str]:
    """The keys of the dict literals that a function of engine.py returns, those of included functions among them."""
    keys: set[str] = set()
    for node in ast.walk(functions(ENGINE)[name]):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant):
                    keys.add(str(key.value))
                elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                    keys |= returned_keys(value.func.id)
    return keys


def fields_of(literal: str) -> set[str]:
    """The keys of a JavaScript object literal, or of a pattern, without its braces."""
    return {re.split(r"[:=]", part)[0].strip() for part in literal.split(",") if part.strip()}


def test_the_engine_handles_exactly_the_requests_and_commands() -> None:
    (engine,) = (node for node in ENGINE.body if isinstance(node, ast.ClassDef) and node.name == "Engine")
    methods = {
        name: tuple(argument.arg for argument in node.args.args[1:])
        for name, node in functions(engine).items()
        if not name.startswith("_")
    }
    assert methods.pop("receive") == ("message",)
    assert methods == REQUESTS | COMMANDS


def test_the_engine_posts_exactly_the_events() -> None:
    posted: dict[str, set[str]] = {}
    for node in ast.walk(ENGINE):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function not in ("_post", "_post_event"):
            continue
        fields = {"recording", "sequence"} if function == "_post" else set()
        for keyword in node.keywords:
            if keyword.arg:
                fields.add(keyword.arg)
            elif isinstance(keyword.value, ast.Call) and isinstance(keyword.value.func, ast.Name):
                fields |= returned_keys(keyword.value.func.id)
        posted[str(node.args[0].value)] = fields
    assert posted == {event: set(fields) for event, fields in EVENTS.items()}


def test_the_page_sends_exactly_the_requests_and_commands() -> None:
    sent = {name: fields_of(fields) for name, fields in re.findall(r'\brequest\("(\w+)", \{([^}]*)\}', JAVASCRIPT)}
    sent |= {name: set() for name in re.findall(r'\brequest\("(\w+)"\)', JAVASCRIPT)}
    sent |= {name: set() for name in re.findall(r'\bengine\.request\("(\w+)"\)', PAGE)}
    assert sent == {name: set(fields) for name, fields in REQUESTS.items()}
    commands = re.findall(r'#post\(\{ name: "(\w+)", fields: \{([^}]*)\}', JAVASCRIPT)
    assert {name: fields_of(fields) for name, fields in commands} == {
        name: set(fields) for name, fields in COMMANDS.items()
    }


def test_the_page_handles_exactly_the_events() -> None:
    handlers = dict(re.findall(r'\("(\w+)", self\.(show_\w+)\)', MAIN))
    listened = re.findall(r'engine\.addEventListener\("(\w+)", \(\{ detail(?:: \{([^}]*)\})? \}\)', JAVASCRIPT)
    known = {*handlers, *dict(listened), *re.findall(r'\bevent === "(\w+)"', SCRIPTS["engine_client.js"])}
    assert known == set(EVENTS)

    used = [*listened, ("update", *re.findall(r"#onUpdate\(\{([^}]*)\}", JAVASCRIPT))]
    used += [("update", *re.findall(r"\(\{ (cues) \}\) =>", SCRIPTS["captions.js"]))]
    used += [("turn", *re.findall(r"onturn: \(\{([^}]*)\}", JAVASCRIPT))]
    for event, fields in used:
        assert fields_of(fields) <= set(EVENTS[event]), event
    for event, handler in handlers.items():
        body = ast.unparse(functions(ast.parse(MAIN))[handler])
        assert set(re.findall(r"\bevent\.(\w+)", body)) <= set(EVENTS[event]), event


def test_a_transcript_has_the_fields_of_the_answer() -> None:
    traced = Transcript(codes=[], tokens=[], logits=[]).to_json()
    assert set(Transcript().to_json()) == set(ANSWERS["finish"])
    assert set(traced) == {*ANSWERS["finish"], *TRACES}


def test_javascript_gets_every_constant_and_the_sentences_of_the_errors() -> None:
    lines = protocol_module(ROOT).splitlines()[1:]
    exported = {
        name: json.loads(value)
        for name, value in (line.removeprefix("export const ").removesuffix(";").split(" = ", 1) for line in lines)
    }
    sentences = exported.pop("PAGE_ERRORS")
    assert exported.pop("LIBRARY") == library.wheel_name(ROOT)
    constants = {name: getattr(protocol, name) for name in vars(protocol) if name.isupper() and name != "PAGE_ERRORS"}
    assert exported == json.loads(json.dumps(constants))
    assert list(sentences) == list(protocol.PAGE_ERRORS)
    for kind, sentence in sentences.items():
        fields = {name: name.upper() for name in inspect.signature(getattr(errors, kind)).parameters}
        assert sentence.format(**fields) == str(getattr(errors, kind)(**fields))


def test_javascript_uses_only_what_the_protocol_exports() -> None:
    exported = set(re.findall(r"^export const (\w+)", protocol_module(ROOT), re.MULTILINE))
    imported = {
        name.strip()
        for names in re.findall(r'import \{([^}]*)\} from "\./protocol\.js"', JAVASCRIPT)
        for name in names.split(",")
    }
    assert imported
    assert imported <= exported


def test_constants_are_defined_once() -> None:
    assert config.SAMPLE_RATE_HZ is protocol.SAMPLE_RATE_HZ
    assert config.FRAME_SAMPLES is protocol.FRAME_SAMPLES
    for name, script in SCRIPTS.items():
        assert not re.search(r"\b(24_?000|1_?920|0\.08)\b", script), name
