// Starts Pyodide with numpy and the library imported, from the snapshot of its memory that tools/pyodide_snapshot.mjs has
// made.
import { loadPyodide } from "../vendor/pyodide/pyodide.mjs";
import { read } from "./decoder.js";

const folder = new URL("../vendor/pyodide/", import.meta.url).href;

// Returns Pyodide. Python's output is discarded. In a browser that the snapshot does not fit, starts Python as usual.
export async function startPyodide() {
  const [memory, libraries] = [unpacked("snapshot.bin"), compiledLibraries()];
  for (const promise of [memory, libraries]) promise.catch(() => {}); // until it is awaited
  await import(`${folder}pyodide.asm.js`); // which defines the function that creates the Emscripten module
  const create = globalThis._createPyodideModule;
  globalThis._createPyodideModule = async (settings) => {
    const instantiate = settings.instantiateWasm;
    settings.instantiateWasm = (imports, receive) =>
      instantiate(imports, ({ exports }, compiled) => receive({ exports: asInTable(exports, imports) }, compiled));
    const module = await create(settings);
    placeLibraries(module, await libraries);
    return module;
  };
  const options = { indexURL: folder, stdout: () => {} };
  try {
    return await loadPyodide({ ...options, _loadSnapshot: memory });
  } catch (error) {
    if (!(error instanceof OtherTable)) throw error;
    globalThis._createPyodideModule = create;
    return loadPyodide({ ...options, packages: ["numpy"] });
  }
}

// The browser's table of functions differs from that of the snapshot.
class OtherTable extends Error {}

// Returns the content of a compressed file.
async function unpacked(name) {
  const packed = await read(folder + name);
  return new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// Returns the compiled libraries that the snapshot refers to, with their places, in the order of loading.
async function compiledLibraries() {
  const listed = JSON.parse(await (await read(`${folder}libraries.json`)).text());
  const compile = async ({ file }) => WebAssembly.compile(await unpacked(file));
  return Promise.all(listed.map(async (library) => ({ ...library, compiled: await compile(library) })));
}

// Replaces exported functions by the objects that the table of functions has for them. They are the same objects except
// in WebKit, where Emscripten would add them to the table again, and other functions would get other places than in the
// snapshot. The name of a function is its number in the module.
function asInTable(exports, { env: { __indirect_function_table: table } }) {
  const inTable = new Map();
  for (let i = 0; i < table.length; i++) {
    const entry = table.get(i);
    if (entry) inTable.set(entry.name, entry);
  }
  const replaced = ([name, value]) => [name, typeof value === "function" ? inTable.get(value.name) ?? value : value];
  return Object.fromEntries(Object.entries(exports).map(replaced));
}

// Loads libraries to the places that they had when the snapshot was made, before the memory is restored. Emscripten
// takes the places from a structure in memory, as for a library that another thread has loaded before.
function placeLibraries({ HEAPU8, HEAPU32, wasmTable, loadWebAssemblyModule }, libraries) {
  const structure = HEAPU8.length - 64; // overwritten by the snapshot
  const [first, last] = [libraries.at(0), libraries.at(-1)];
  if (![0, 1].includes(first.tableBase - wasmTable.length)) throw new OtherTable();
  wasmTable.grow(last.tableBase + last.tableSize - wasmTable.length);
  for (const { path, compiled, memoryBase, tableBase } of libraries) {
    HEAPU8[structure + 8] = 1;
    HEAPU32[structure / 4 + 3] = memoryBase;
    HEAPU32[structure / 4 + 5] = tableBase;
    loadWebAssemblyModule(compiled, {}, path, {}, structure);
  }
}
