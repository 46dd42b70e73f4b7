// The bridge for Tympan's own page, whose Python (app/main.py) imports it. It is loaded first, so that the engine
// starts while the page's Python does.
import "../tympan.js";
import { AudioSource } from "./audio_source.js";
import { decode, read } from "./decoder.js";
import { EngineClient } from "./engine_client.js";
import { toError } from "./errors.js";
import { Recorder } from "./recorder.js";

export { decode, read, toError };
export const engine = EngineClient.of(new URLSearchParams(location.search));
export const openMicrophone = () => AudioSource.openMicrophone(); // MicroPython reaches no static methods
export const openTab = () => AudioSource.openTab();
let stopped;

engine.start();

// Transcribes samples until `stop`.
export function transcribe(samples, trace) {
  stopped = Promise.withResolvers();
  return engine.transcribe(() => samples, {}, { trace, stopped: stopped.promise });
}

// Transcribes an AudioSource until `stop`. onsamples: called with every frame. onfinish: when the last words are due.
// Gives { transcript, error, audio }: one of the first two or both, and the recording as a Blob.
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

export function stop() {
  stopped?.resolve();
}

// Writes words, which are JSON, as captions.
export function captions(words, format) {
  return engine.request("captions", { words: JSON.parse(words), format });
}
