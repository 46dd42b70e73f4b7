// Starts Pyodide, imports numpy, the library, and the modules of the standard library that the engine needs, and writes a
// snapshot of Pyodide's memory. A page that loads it skips Python's start and these imports.
//
//     node tools/pyodide_snapshot.mjs PYODIDE PACKAGES LIBRARY FOLDER
//
// PYODIDE: the folder of the npm package. PACKAGES: a folder with the unpacked wheel of numpy. LIBRARY: the wheel of the
// library. Written to FOLDER:
//
//     snapshot.bin     the memory
//     libraries.json   numpy's compiled libraries in the order of loading, with their places in the memory and in the
//                      table of functions: a page loads them to the same places before it restores the memory
//     *.bin            these libraries
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, resolve } from "node:path";

const [pyodideFolder, packages, library, folder] = process.argv.slice(2).map((path) => resolve(path));
const { loadPyodide } = await import(`${pyodideFolder}/pyodide.mjs`);

const MODULES = [
  "ast", "asyncio", "base64", "bisect", "bz2", "contextlib", "copy", "csv", "dataclasses", "datetime", "dis", "fnmatch",
  "functools", "hashlib", "importlib.metadata", "importlib.resources", "inspect", "ipaddress", "json", "logging",
  "numbers", "pathlib", "pickle", "platform", "shutil", "subprocess", "tarfile", "tempfile", "textwrap", "threading",
  "tokenize", "traceback", "typing", "urllib.parse", "zipfile", "numpy", "numpy.typing",
];

// Fixed, so that every run writes the same bytes. As a result, the module `random` draws the same numbers in every page
// until it is seeded; `os.urandom`, `uuid` and numpy's generators do not.
Date.now = () => 0;
crypto.getRandomValues = (array) => array.fill(0);

const env = { HOME: "/home/pyodide", PYTHONHASHSEED: "0" };
const pyodide = await loadPyodide({ env, _makeSnapshot: true });
const module = pyodide._module;
copyPackages();
module.wasmTable.grow(1); // for the function that Pyodide adds in browsers with garbage collection of WebAssembly
pyodide.runPython(MODULES.map((name) => `import ${name}`).join("\n"));
importLibrary();
clearFreeMemory();
const libraries = loadedLibraries();

mkdirSync(folder, { recursive: true });
for (const { path, file } of libraries) writeFileSync(`${folder}/${file}`, pyodide.FS.readFile(path));
writeFileSync(`${folder}/libraries.json`, `${JSON.stringify(libraries, null, 2)}\n`);
writeFileSync(`${folder}/snapshot.bin`, pyodide.makeMemorySnapshot());

function copyPackages() {
  const target = pyodide.runPython("import site; site.getsitepackages()[0]");
  for (const name of readdirSync(packages, { recursive: true }).sort()) {
    if (statSync(`${packages}/${name}`).isDirectory()) pyodide.FS.mkdirTree(`${target}/${name}`);
    else pyodide.FS.writeFile(`${target}/${name}`, readFileSync(`${packages}/${name}`));
  }
  pyodide.runPython("import importlib; importlib.invalidate_caches()");
}

// Unpacks the library where the worker does, and imports all of it but `embed`, which is for the pages of authors.
function importLibrary() {
  // What Node.js lacks of that which modules import from `js`. The snapshot has only their names.
  for (const name of ["location", "navigator"]) globalThis[name] ??= {};
  globalThis.FileReaderSync ??= class {};
  pyodide.unpackArchive(Uint8Array.from(readFileSync(library)), "zip");
  const namespace = pyodide.toPy({});
  const imports = `
import gc, importlib, pkgutil
importlib.invalidate_caches()
import tympan
for _, name, _ in pkgutil.walk_packages(tympan.__path__, "tympan."):
    if not name.startswith("tympan.embed"):
        importlib.import_module(name)
gc.collect()`;
  pyodide.runPython(imports, { globals: namespace });
  namespace.destroy();
}

// Writes zeros to memory that is not in use, so that the snapshot compresses better.
function clearFreeMemory() {
  const blocks = [];
  for (let size = 2 ** 16; size >= 16; size /= 2) {
    const top = module._sbrk(0);
    for (;;) {
      const block = module._PyMem_RawMalloc(size);
      module.HEAPU8.fill(0, block, block + size);
      blocks.push(block);
      if (module._sbrk(0) !== top) break; // no free block of this size was left
    }
  }
  for (const block of blocks) module._PyMem_RawFree(block);
}

// The structure of a library in C begins with a flag, then: address and size in memory, first place and number of
// places in the table.
function loadedLibraries() {
  return Object.entries(module.LDSO.loadedLibsByHandle)
    .filter(([handle]) => handle !== "0")
    .map(([handle, { name }]) => ({
      path: name,
      file: `${basename(name).split(".")[0]}.bin`,
      memoryBase: module.HEAPU32[(Number(handle) >>> 2) + 3],
      tableBase: module.HEAPU32[(Number(handle) >>> 2) + 5],
      tableSize: module.HEAPU32[(Number(handle) >>> 2) + 6],
    }))
    .sort((a, b) => a.tableBase - b.tableBase);
}
