// The engine in a page of somebody else's: Pyodide, the library, and app/engine.py, whose functions it calls by name.
// Messages in: { id, name, values }. Messages out: { id, answer } with the function's JSON text, and the engine's own.
import { loadPyodide } from "../vendor/pyodide/pyodide.mjs";

const home = new URL("..", import.meta.url).href;
const started = start();
started.catch(() => {}); // told to whoever calls

async function start() {
  const [pyodide, library, engine] = await Promise.all([
    loadPyodide({ indexURL: `${home}vendor/pyodide/`, packages: ["numpy"], stdout: () => {} }),
    file("tympan.zip"),
    file("app/engine.py"),
  ]);
  pyodide.unpackArchive(library, "zip");
  pyodide.FS.writeFile("engine.py", new Uint8Array(engine));
  return pyodide.pyimport("engine");
}

async function file(path) {
  const response = await fetch(home + path);
  if (!response.ok) throw new Error(`${home}${path}: the server answered ${response.status}`);
  return response.arrayBuffer();
}

async function answer(name, values) {
  try {
    return await (await started)[name](...values);
  } catch (error) {
    const message = `The engine did not start: ${error.message}.`;
    return JSON.stringify({ error: { kind: "DownloadFailed", message } });
  }
}

addEventListener("message", async ({ data: { id, name, values } }) => {
  postMessage({ id, answer: await answer(name, values) });
});
