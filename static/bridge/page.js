// The bridge for Tympan's own page, whose Python (app/main.py) imports it. It is loaded first, so that the engine
// starts while the page's Python does.
import "../tympan.js";
import { AudioSource } from "./audio_source.js";
import { decode, read } from "./decoder.js";
import { EngineClient } from "./engine_client.js";
import { toError } from "./errors.js";
import { Recorder } from "./recorder.js";

export { decode, read };
export const engine = EngineClient.of(new URLSearchParams(location.search));
export const openMicrophone = () => AudioSource.openMicrophone();
export const openTab = () => AudioSource.openTab();
let stopped = Promise.withResolvers();

engine.start();

// Transcribes samples until `stop`.
export function transcribe(samples, trace) {
  stopped = Promise.withResolvers();
  return engine.transcribe(() => samples, {}, { trace, stopped: stopped.promise });
}

// Transcribes an AudioSource until `stop`. onSamples: called with every frame. onFinish: when the last words are due.
// Gives { transcript, error, audio }: one of the first two or both, and the recording as a Blob.
export async function listen(source, trace, onSamples, onFinish) {
  stopped = Promise.withResolvers();
  const recorder = new Recorder(source.rateHz);
  const onsamples = (samples) => {
    recorder.push(samples);
    onSamples(samples);
  };
  const outcome = engine.listen(() => source, stopped.promise, { onsamples, onfinish: onFinish }, trace).then(
    (transcript) => ({ transcript, error: null }),
    (error) => ({ transcript: error.transcript ?? null, error }),
  );
  return { ...(await outcome), audio: recorder.wav() };
}

export function stop() {
  stopped.resolve();
}

// Sends words, as JSON, to be written as captions.
export function captions(words, format) {
  return engine.request("captions", { words: JSON.parse(words), format });
}

// An Error for scripts.
export function newError(kind, message) {
  return toError({ kind, message });
}
