// Starts Pyodide with numpy imported, from the snapshot of its memory that tools/pyodide_snapshot.mjs has made.
import { loadPyodide } from "../vendor/pyodide/pyodide.mjs";
import { read } from "./decoder.js";

const folder = new URL("../vendor/pyodide/", import.meta.url).href;

// Returns Pyodide. Python's output is discarded.
export async function startPyodide() {
  const [memory, libraries] = [unpacked("snapshot.bin"), compiledLibraries()];
  libraries.catch(() => {}); // until it is awaited
  await import(`${folder}pyodide.asm.js`); // which defines the function that creates the Emscripten module
  const create = globalThis._createPyodideModule;
  globalThis._createPyodideModule = async (settings) => {
    const module = await create(settings);
    placeLibraries(module, await libraries);
    return module;
  };
  return loadPyodide({ indexURL: folder, stdout: () => {}, _loadSnapshot: memory });
}

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

// Loads libraries to the places that they had when the snapshot was made, before the memory is restored. Emscripten
// takes the places from a structure in memory, as for a library that another thread has loaded before.
function placeLibraries({ HEAPU8, HEAPU32, wasmTable, loadWebAssemblyModule }, libraries) {
  const structure = HEAPU8.length - 64; // overwritten by the snapshot
  wasmTable.grow(libraries[0].tableBase - wasmTable.length);
  for (const { path, compiled, memoryBase, tableBase } of libraries) {
    if (wasmTable.length !== tableBase) throw new Error(`${path}: ${wasmTable.length} functions, not ${tableBase}`);
    HEAPU8[structure + 8] = 1;
    HEAPU32[structure / 4 + 3] = memoryBase;
    HEAPU32[structure / 4 + 5] = tableBase;
    loadWebAssemblyModule(compiled, {}, path, {}, structure);
  }
}
