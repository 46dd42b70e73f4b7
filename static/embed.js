// window.tympan for other pages: <script type="module" src="https://example.org/tympan/embed.js?model=demo"></script>
import { AudioSource } from "./bridge/audio_source.js";
import { decode } from "./bridge/decoder.js";
import { EngineClient } from "./bridge/engine_client.js";
import "./tympan.js";

const engine = EngineClient.of(new URL(import.meta.url).searchParams);
let stopped = Promise.withResolvers();

function listen() {
  stopped = Promise.withResolvers();
  return engine.listen(() => AudioSource.openMicrophone(), stopped.promise);
}

tympan.connect(engine, (blobOrUrl) => engine.transcribe(() => decode(blobOrUrl)), listen, () => stopped.resolve());
engine.load().then((info) => tympan.open(info), (error) => tympan.open(error));
