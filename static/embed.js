// window.tympan for other pages: <script type="module" src="https://example.org/tympan/embed.js?model=demo"></script>
import { openMicrophone } from "./bridge/audio_source.js";
import { decode } from "./bridge/decoder.js";
import { EngineClient } from "./bridge/engine_client.js";
import "./tympan.js";

const engine = EngineClient.of(new URL(import.meta.url).searchParams);
let stopped = Promise.withResolvers();

function transcribe(blobOrUrl, options) {
  return engine.transcribe(() => decode(blobOrUrl), {}, options);
}

function listen(options) {
  stopped = Promise.withResolvers();
  return engine.listen(openMicrophone, stopped.promise, {}, options);
}

tympan.connect(engine, transcribe, listen, () => stopped.resolve());
engine.load().then((info) => tympan.open(info), (error) => tympan.open(error));
