// Keeps the samples of a live source as a WAV file of 32-bit floats: exactly what was transcribed.
const IEEE_FLOAT = 3;
const SAMPLE_BYTES = 4;
const HEADER_BYTES = 44;
const N_TOGETHER = 125; // frames that become one Blob, which the browser keeps outside of the page's memory

export class Recorder {
  #rateHz;
  #nSamples = 0;
  #blobs = [];
  #frames = [];

  constructor(rateHz) {
    this.#rateHz = rateHz;
  }

  // Copies a frame, a Float32Array.
  push(samples) {
    this.#nSamples += samples.length;
    this.#frames.push(samples.slice());
    if (this.#frames.length < N_TOGETHER) return;
    this.#blobs.push(new Blob(this.#frames));
    this.#frames = [];
  }

  // All of it, as a Blob of the type audio/wav.
  wav() {
    return new Blob([header(this.#rateHz, this.#nSamples), ...this.#blobs, ...this.#frames], { type: "audio/wav" });
  }
}

// The 44 bytes before mono float samples. Source: Microsoft, Multimedia Programming Interface 1.0, RIFF WAVE.
function header(rateHz, nSamples) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const nBytes = nSamples * SAMPLE_BYTES;
  [..."RIFF\0\0\0\0WAVEfmt "].forEach((letter, i) => view.setUint8(i, letter.charCodeAt(0)));
  view.setUint32(4, HEADER_BYTES - 8 + nBytes, true);
  view.setUint32(16, 16, true); // bytes of the format
  view.setUint16(20, IEEE_FLOAT, true);
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rateHz, true);
  view.setUint32(28, rateHz * SAMPLE_BYTES, true);
  view.setUint16(32, SAMPLE_BYTES, true);
  view.setUint16(34, 8 * SAMPLE_BYTES, true);
  [..."data"].forEach((letter, i) => view.setUint8(36 + i, letter.charCodeAt(0)));
  view.setUint32(40, nBytes, true);
  return view;
}
