// The microphone, or any other track of sound, as a flow of samples from an AudioWorklet.
const RATE_HZ = 24000;
const FRAME_S = 0.08;
const WANTED = { channelCount: 1, echoCancellation: false, autoGainControl: true, noiseSuppression: false };

export class Microphone {
  #tracks; // to be given back
  #context;
  #node;
  #flushed = Promise.withResolvers();
  #ended = Promise.withResolvers();

  // Asks for the microphone unless there is a `track`, and listens at once. Rejects with the browser's DOMException.
  static async open(track = undefined) {
    const tracks = track ? [] : (await askForMicrophone()).getAudioTracks();
    const stream = new MediaStream(track ? [track] : tracks);
    try {
      return await Microphone.#of(stream, tracks, { sampleRate: RATE_HZ });
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      return Microphone.#of(stream, tracks, {}); // this browser will not mix rates, so take the device's own
    }
  }

  static async #of(stream, tracks, options) {
    const context = new AudioContext(options);
    try {
      await context.audioWorklet.addModule(new URL("../capture.worklet.js", import.meta.url));
      return new Microphone(context, context.createMediaStreamSource(stream), tracks, stream);
    } catch (error) {
      await context.close();
      throw error;
    }
  }

  constructor(context, source, tracks, stream) {
    this.#tracks = tracks;
    this.#context = context;
    this.rateHz = context.sampleRate;
    this.#node = new AudioWorkletNode(context, "capture", {
      channelCount: 1,
      channelCountMode: "explicit",
      numberOfOutputs: 0,
      processorOptions: { frame: Math.round(context.sampleRate * FRAME_S) },
    });
    source.connect(this.#node); // its port keeps what is heard from now on until `start`
    stream.getAudioTracks()[0].addEventListener("ended", () => this.#ended.resolve());
    context.resume(); // where the page was not touched yet, the browser starts it with the first touch
  }

  // Resolves when the device has gone away.
  get ended() {
    return this.#ended.promise;
  }

  // Calls `onSamples` with a Float32Array every 80 ms.
  start(onSamples) {
    this.#node.port.onmessage = ({ data }) => (data ? onSamples(data) : this.#flushed.resolve());
  }

  // Gives the microphone back, and delivers what was heard before.
  async stop() {
    for (const track of this.#tracks) track.stop();
    if (this.#context.state === "running") {
      this.#node.port.postMessage("flush");
      await this.#flushed.promise;
    }
    await this.close();
  }

  // Gives the microphone back.
  async close() {
    for (const track of this.#tracks) track.stop();
    if (this.#context.state !== "closed") await this.#context.close();
  }
}

function askForMicrophone() {
  if (!navigator.mediaDevices) {
    throw new DOMException("This page was not opened over https or from this machine.", "NotAllowedError");
  }
  return navigator.mediaDevices.getUserMedia({ audio: WANTED });
}
