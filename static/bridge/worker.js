// Starts the engine in a worker: loads Pyodide, the library and app/engine.py, which then handles all messages. Pyodide's
// snapshot has the library imported; its shaders and modules of WebAssembly are read from the unpacked files.
import { read } from "./decoder.js";
import { failure } from "./errors.js";
import { LIBRARY } from "./protocol.js";
import { startPyodide } from "./pyodide.js";
import { replay } from "./replay.js";

const home = new URL("..", import.meta.url).href;
const file = async (path) => (await read(home + path)).arrayBuffer();
const started = start();

async function start() {
  const [pyodide, library, engine] = await Promise.all([startPyodide(), file(LIBRARY), file("app/engine.py")]);
  pyodide.registerJsModule("tympan_replay", { replay });
  pyodide.unpackArchive(library, "zip");
  pyodide.FS.writeFile("engine.py", new Uint8Array(engine));
  return pyodide.pyimport("engine").Engine();
}

addEventListener("unhandledrejection", ({ reason }) => {
  if (reason?.pyodide_fatal_error) reportError(reason); // to the page, which starts another worker
});

addEventListener("message", ({ data }) => {
  started.then((engine) => engine.receive(data), (error) => {
    const { name, message, fields } = error.fields ? error : failure("DownloadFailed", error.message, { url: home });
    if ("id" in data) postMessage({ id: data.id, error: { kind: name, message, fields } });
  });
});
