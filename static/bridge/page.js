// The bridge of Tympan's own page; app/main.py imports it. The page loads it first, so that the engine's Python and the
// page's Python start at the same time.
import "../tympan.js";
import { openMicrophone, openTab } from "./audio_source.js";
import { decode, nameOf, read } from "./decoder.js";
import { EngineClient } from "./engine_client.js";
import { toError } from "./errors.js";
import { Recorder } from "./recorder.js";

export { decode, nameOf, openMicrophone, openTab, read, toError };
export const engine = EngineClient.of(new URLSearchParams(location.search));
engine.start();
let stopped;

// Transcribes samples until `stop`. options: as of `window.tympan.transcribe`, or null.
export function transcribe(samples, trace, options) {
  stopped = Promise.withResolvers();
  return engine.transcribe(() => samples, {}, { ...options, trace, stopped: stopped.promise });
}

// Transcribes an AudioSource until `stop`. options: as of `transcribe`. onsamples: called with every frame. onfinish:
// called when the source is closed. Resolves with { transcript, error, audio }: a transcript, an error or both, and the
// recording as a Blob.
export async function listen(source, trace, options, onsamples, onfinish) {
  stopped = Promise.withResolvers();
  const recorder = new Recorder(source.rateHz);
  const record = (samples) => {
    recorder.push(samples);
    onsamples(samples);
  };
  const recorded = engine.listen(() => source, stopped.promise, { onsamples: record, onfinish }, { ...options, trace });
  const outcome = await recorded.then(
    (transcript) => ({ transcript, error: null }),
    (error) => ({ transcript: error.transcript ?? null, error }),
  );
  return { ...outcome, audio: recorder.wav() };
}

export const stop = () => stopped?.resolve();

// Wraps a function of the page's Python that calls its first argument with its result. Returns a function that returns a
// promise of that result. An object that MicroPython 1.27 returns may be freed before JavaScript has it
// (micropython/micropython#19141).
export const promising = (start) => (...values) => new Promise((resolve) => void start(resolve, ...values));

// Formats words, given as JSON, as a file of captions.
export const captions = (words, format) => engine.request("captions", { words: JSON.parse(words), format });
