// Starts Pyodide, imports the modules of the standard library that the engine needs, and writes a snapshot of
// Pyodide's memory. A page that loads it skips most of Python's start.
//
//     node tools/pyodide_snapshot.mjs PYODIDE FILE        PYODIDE: the folder of the npm package
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";

const [folder, file] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(`${folder}/pyodide.mjs`);

// In pure Python: a snapshot cannot hold packages with compiled code, such as numpy.
const MODULES = [
  "ast", "asyncio", "base64", "bisect", "bz2", "contextlib", "copy", "csv", "dataclasses", "datetime", "dis", "fnmatch",
  "functools", "hashlib", "importlib.metadata", "importlib.resources", "inspect", "ipaddress", "json", "logging",
  "numbers", "pathlib", "pickle", "platform", "shutil", "subprocess", "tarfile", "tempfile", "textwrap", "threading",
  "tokenize", "traceback", "typing", "urllib.parse", "zipfile",
];

// Fixed, so that every run writes the same bytes. As a result, the module `random` draws the same numbers in every page
// until it is seeded; `os.urandom`, `uuid` and numpy's generators do not.
Date.now = () => 0;
crypto.getRandomValues = (array) => array.fill(0);

const env = { HOME: "/home/pyodide", PYTHONHASHSEED: "0" };
const pyodide = await loadPyodide({ env, _makeSnapshot: true });
pyodide.runPython(MODULES.map((name) => `import ${name}`).join("\n"));
writeFileSync(file, pyodide.makeMemorySnapshot());
