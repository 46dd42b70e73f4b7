// A live audio source: the microphone, another tab, or a track. An AudioWorklet divides its samples into 80 ms frames.
import { deviceFailure, failure } from "./errors.js";
import { FRAME_S, SAMPLE_RATE_HZ } from "./protocol.js";

const MICROPHONE = { channelCount: 1, echoCancellation: false, autoGainControl: true, noiseSuppression: false };
const TAB = { echoCancellation: false, autoGainControl: false };
const CAPTURE = { channelCount: 1, channelCountMode: "explicit", numberOfOutputs: 0 }; // mixes the channels
const WORKLET = new URL("capture.worklet.js", import.meta.url);
const nowS = () => performance.now() / 1000;

// Asks for the microphone and starts to capture. Throws MicrophoneDenied.
export function openMicrophone() {
  return open("MicrophoneDenied", (devices) => devices.getUserMedia({ audio: MICROPHONE }));
}

// Asks for another tab and starts to capture its audio. Works only while a click is handled. Throws TabDenied.
export function openTab() {
  const wanted = { audio: TAB, video: true }; // browsers require video, which is not used
  if (window.CaptureController) {
    wanted.controller = new CaptureController();
    wanted.controller.setFocusBehavior("no-focus-change"); // in the background, this page would start late
  }
  return open("TabDenied", (devices) => devices.getDisplayMedia?.(wanted));
}

// Captures a live audio track, and does not stop it on close.
export function openTrack(track) {
  return connect(newContext(SAMPLE_RATE_HZ), new MediaStream([track]), []);
}

async function open(kind, ask) {
  if (!navigator.mediaDevices) throw failure(kind, "insecure", { cause: "NotAllowedError" });
  const asked = ask(navigator.mediaDevices);
  if (!asked) throw failure(kind, "no_tab_support");
  const context = newContext(SAMPLE_RATE_HZ); // starts while the browser asks the user, so that no word is lost
  const stream = await asked.catch(async (error) => {
    await context.close();
    throw deviceFailure(kind, error);
  });
  for (const track of stream.getVideoTracks()) track.stop();
  if (stream.getAudioTracks().length) return connect(context, stream, stream.getTracks());
  await context.close();
  throw failure(kind, "no_tab_sound");
}

async function connect(context, stream, tracks) {
  let input;
  try {
    input = context.createMediaStreamSource(stream);
  } catch (error) {
    await context.close();
    if (error.name !== "NotSupportedError") throw error;
    context = newContext(); // this browser cannot convert the rate: use that of the device
    input = context.createMediaStreamSource(stream);
  }
  await context.isReady;
  return new AudioSource(context, input, stream, tracks);
}

class AudioSource {
  #tracks; // to stop on close
  #context;
  #node;
  #flushed = Promise.withResolvers();
  #nSamples = 0;
  #startS = Infinity; // time of the first sample

  constructor(context, input, stream, tracks) {
    this.#tracks = tracks;
    this.#context = context;
    this.rateHz = context.sampleRate;
    const frame = Math.round(context.sampleRate * FRAME_S);
    this.#node = new AudioWorkletNode(context, "capture", { ...CAPTURE, processorOptions: { frame } });
    input.connect(this.#node); // its port queues all frames until `start`
    // Resolves when the device is disconnected or the user ends sharing.
    this.ended = new Promise((resolve) => stream.getAudioTracks()[0].addEventListener("ended", () => resolve()));
  }

  // Calls `onSamples` with every frame since the source was opened, a Float32Array.
  start(onSamples) {
    this.#node.port.onmessage = ({ data }) => {
      if (!data) return this.#flushed.resolve();
      this.#nSamples += data.length;
      // Frames arrive with varying delay; the smallest delay gives the best estimate.
      this.#startS = Math.min(this.#startS, nowS() - this.#nSamples / this.rateHz);
      onSamples(data);
    };
  }

  // Seconds since the audio at this time of the source, in seconds, was spoken.
  delayS(second) { return nowS() - this.#startS - second; }

  // Closes the source after all frames have been delivered.
  async stop() {
    if (this.#context.state === "running") {
      this.#node.port.postMessage("flush");
      await this.#flushed.promise;
    }
    await this.close();
  }

  async close() {
    for (const track of this.#tracks) track.stop();
    if (this.#context.state !== "closed") await this.#context.close();
  }
}

// Returns an AudioContext that loads the worklet. `resume` is not awaited: without a click, or without an audio output,
// it may never settle. WebKit then starts the context only if `resume` is called again during a click.
function newContext(sampleRate) {
  const context = new AudioContext(sampleRate ? { sampleRate } : {});
  context.isReady = context.audioWorklet.addModule(WORKLET);
  context.isReady.catch(() => {}); // `connect` awaits it and reports the error
  const resume = () => { context.resume().catch(() => {}); };
  const started = new AbortController();
  for (const kind of ["click", "keydown"]) addEventListener(kind, resume, { capture: true, signal: started.signal });
  context.addEventListener("statechange", () => { if (context.state !== "suspended") started.abort(); });
  resume();
  return context;
}
