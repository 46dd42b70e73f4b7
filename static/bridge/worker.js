// Starts the engine in a worker: loads Pyodide, the library and app/engine.py, which then handles all messages.
import { loadPyodide } from "../vendor/pyodide/pyodide.mjs";
import { failure } from "./errors.js";

const home = new URL("..", import.meta.url).href;
const started = start();

async function start() {
  const [pyodide, library, engine] = await Promise.all([
    loadPyodide({ indexURL: `${home}vendor/pyodide/`, packages: ["numpy"], stdout: () => {} }),
    file("tympan.zip"),
    file("app/engine.py"),
  ]);
  pyodide.unpackArchive(library, "zip");
  pyodide.FS.writeFile("engine.py", new Uint8Array(engine));
  return pyodide.pyimport("engine").Engine();
}

async function file(path) {
  const response = await fetch(home + path);
  if (!response.ok) throw failure("DownloadFailed", "bad_answer", { url: home + path, status: response.status });
  return response.arrayBuffer();
}

addEventListener("message", ({ data }) => {
  started.then((engine) => engine.receive(data), (error) => {
    const { name, message, fields } = error.fields ? error : failure("DownloadFailed", error.message, { url: home });
    if ("id" in data) postMessage({ id: data.id, error: { kind: name, message, fields } });
  });
});
