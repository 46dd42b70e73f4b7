// Records the samples of a live source, exactly as transcribed, as a WAV file of 32-bit floats.
const FRAMES_PER_BLOB = 125; // browsers store Blobs outside of the page's memory

export class Recorder {
  #nSamples = 0;
  #blobs = [];
  #frames = [];

  constructor(rateHz) {
    this.rateHz = rateHz;
  }

  // Adds a copy of a frame, a Float32Array.
  push(samples) {
    this.#nSamples += samples.length;
    this.#frames.push(samples.slice());
    if (this.#frames.length === FRAMES_PER_BLOB) this.#blobs.push(new Blob(this.#frames.splice(0)));
  }

  // Returns the recording as a Blob of the type audio/wav.
  wav() {
    return new Blob([header(this.rateHz, this.#nSamples), ...this.#blobs, ...this.#frames], { type: "audio/wav" });
  }
}

// The 44 bytes before mono float samples, as little-endian words. Source: Microsoft, Multimedia Programming Interface
// 1.0, RIFF WAVE: "RIFF", bytes after this, "WAVE", "fmt ", bytes of the format; 1 channel and format 3 (IEEE float),
// rate, bytes a second, 32 bits and 4 bytes a sample; "data", its bytes.
function header(rateHz, nSamples) {
  const nBytes = 4 * nSamples;
  const format = [0x20746d66, 16, 0x00010003, rateHz, 4 * rateHz, 0x00200004];
  return new Uint32Array([0x46464952, 36 + nBytes, 0x45564157, ...format, 0x61746164, nBytes]);
}
