// A live audio source: the microphone, another tab, or a track. An AudioWorklet cuts its samples into frames of 80 ms.
import { deviceFailure, failure } from "./errors.js";
import { FRAME_S, SAMPLE_RATE_HZ } from "./protocol.js";

const MICROPHONE = { channelCount: 1, echoCancellation: false, autoGainControl: true, noiseSuppression: false };
const TAB = { echoCancellation: false, autoGainControl: false };
const WORKLET = new URL("capture.worklet.js", import.meta.url);

export class AudioSource {
  #tracks; // to be stopped at the end
  #context;
  #node;
  #flushed = Promise.withResolvers();
  #nSamples = 0;
  #startS = Infinity; // when the first sample was spoken

  // Asks for the microphone and listens at once. Throws MicrophoneDenied.
  static openMicrophone() {
    return AudioSource.#open("MicrophoneDenied", (devices) => devices.getUserMedia({ audio: MICROPHONE }));
  }

  // Asks for another tab and listens to its audio at once. To be called while a click is handled: browsers refuse it
  // otherwise. Throws TabDenied.
  static openTab() {
    const wanted = { audio: TAB, video: true }; // browsers offer no tab without its picture, which is not used
    if (window.CaptureController) {
      wanted.controller = new CaptureController();
      wanted.controller.setFocusBehavior("no-focus-change"); // a page in the background would start late
    }
    return AudioSource.#open("TabDenied", (devices) => devices.getDisplayMedia?.(wanted));
  }

  // Listens to a live audio track, which stays its owner's.
  static async openTrack(track) {
    return AudioSource.#connect(newContext(SAMPLE_RATE_HZ), new MediaStream([track]), []);
  }

  static async #open(kind, ask) {
    if (!navigator.mediaDevices) throw failure(kind, "insecure", { cause: "NotAllowedError" });
    const asked = ask(navigator.mediaDevices);
    if (!asked) throw failure(kind, "no_tab_support");
    const context = newContext(SAMPLE_RATE_HZ); // gets ready while the browser asks, so that no word is lost afterwards
    const stream = await asked.catch(async (error) => {
      await context.close();
      throw deviceFailure(kind, error);
    });
    for (const track of stream.getVideoTracks()) track.stop();
    if (stream.getAudioTracks().length) return AudioSource.#connect(context, stream, stream.getTracks());
    await context.close();
    throw failure(kind, "no_tab_sound");
  }

  static async #connect(context, stream, tracks) {
    let input;
    try {
      input = context.createMediaStreamSource(stream);
    } catch (error) {
      await context.close();
      if (error.name !== "NotSupportedError") throw error;
      context = newContext(); // this browser cannot convert the rate, so use the device's own
      input = context.createMediaStreamSource(stream);
    }
    await context.isReady;
    return new AudioSource(context, input, stream, tracks);
  }

  constructor(context, input, stream, tracks) {
    this.#tracks = tracks;
    this.#context = context;
    this.rateHz = context.sampleRate;
    this.#node = new AudioWorkletNode(context, "capture", {
      channelCount: 1,
      channelCountMode: "explicit",
      numberOfOutputs: 0,
      processorOptions: { frame: Math.round(context.sampleRate * FRAME_S) },
    });
    input.connect(this.#node); // its port keeps all frames until `start`
    // Resolves when the device is gone.
    this.ended = new Promise((resolve) => stream.getAudioTracks()[0].addEventListener("ended", () => resolve()));
  }

  // Calls `onSamples` with a Float32Array for every frame since the source was opened.
  start(onSamples) {
    this.#node.port.onmessage = ({ data }) => {
      if (!data) return this.#flushed.resolve();
      this.#nSamples += data.length;
      // Frames are posted with some delay. The one with the least tells best when the first sample was spoken.
      this.#startS = Math.min(this.#startS, nowS() - this.#nSamples / this.rateHz);
      onSamples(data);
    };
  }

  // How long ago the audio at a time of this source was spoken, both in seconds.
  delayS(second) {
    return nowS() - this.#startS - second;
  }

  // Closes the source after all frames have been delivered.
  async stop() {
    for (const track of this.#tracks) track.stop();
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

// An audio context that loads the worklet. `resume` is not awaited: without a click, or without any audio output, it
// may never settle; the browser then starts the context with the next click.
function newContext(sampleRate) {
  const context = new AudioContext(sampleRate ? { sampleRate } : {});
  context.isReady = context.audioWorklet.addModule(WORKLET);
  context.isReady.catch(() => {}); // reported by whoever awaits it
  context.resume().catch(() => {});
  return context;
}

function nowS() {
  return performance.now() / 1000;
}
