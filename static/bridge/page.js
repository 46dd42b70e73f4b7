// The bridge of Tympan's own page; app/main.py imports it. The page loads it first, so that the engine's Python and the
// page's Python start at the same time.
import "../tympan.js";
import { AudioSource } from "./audio_source.js";
import { decode, read } from "./decoder.js";
import { EngineClient } from "./engine_client.js";
import { toError } from "./errors.js";
import { Recorder } from "./recorder.js";

export { decode, read, toError };
export const engine = EngineClient.of(new URLSearchParams(location.search));
export const openMicrophone = () => AudioSource.openMicrophone(); // MicroPython cannot call static methods
export const openTab = () => AudioSource.openTab();
let stopped;

engine.start();

// Transcribes samples until `stop`.
export function transcribe(samples, trace) {
  stopped = Promise.withResolvers();
  return engine.transcribe(() => samples, {}, { trace, stopped: stopped.promise });
}

// Transcribes an AudioSource until `stop`. onsamples: called with every frame. onfinish: when the source is closed.
// Resolves with { transcript, error, audio }: a transcript, an error or both, and the recording as a Blob.
export async function listen(source, trace, onsamples, onfinish) {
  stopped = Promise.withResolvers();
  const recorder = new Recorder(source.rateHz);
  const record = (samples) => {
    recorder.push(samples);
    onsamples(samples);
  };
  const outcome = await engine.listen(() => source, stopped.promise, { onsamples: record, onfinish }, trace).then(
    (transcript) => ({ transcript, error: null }),
    (error) => ({ transcript: error.transcript ?? null, error }),
  );
  return { ...outcome, audio: recorder.wav() };
}

export const stop = () => stopped?.resolve();

// Formats words, given as JSON, as a file of captions.
export const captions = (words, format) => engine.request("captions", { words: JSON.parse(words), format });
