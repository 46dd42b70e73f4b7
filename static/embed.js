// window.tympan in a page of somebody else's, with an engine of its own:
//
//   <script type="module" src="https://example.org/tympan/embed.js?model=demo"></script>
import { Engine } from "./embed/engine.js";
import "./tympan.js";

const engine = Engine.of(new URL(import.meta.url).searchParams);
let stopped = Promise.withResolvers();

const transcribe = (blobOrUrl) => answer(engine.transcribe(blobOrUrl));
const stop = () => stopped.resolve();
const hear = (message) => tympan.hear(message);

function listen() {
  stopped = Promise.withResolvers();
  return answer(engine.listen(stopped.promise, { onheard: hear, onturn: hear }));
}

answer(engine.load()).then((loaded) => tympan.open(loaded, transcribe, listen, stop));

// As the engine itself answers.
function answer(promise) {
  return promise.then(
    (value) => JSON.stringify({ value }),
    ({ name, message }) => JSON.stringify({ error: { kind: name, message } }),
  );
}
