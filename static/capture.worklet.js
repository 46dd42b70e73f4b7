// Cuts what the microphone hears into frames and posts them to the page. Runs on the audio thread.
class Capture extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.frame = new Float32Array(processorOptions.frame);
    this.filled = 0;
    this.port.onmessage = () => this.flush();
  }

  process([[samples]]) {
    if (this.flushed) return false;
    for (let taken = 0; samples && taken < samples.length; ) {
      const part = samples.subarray(taken, taken + this.frame.length - this.filled);
      this.frame.set(part, this.filled);
      this.filled += part.length;
      taken += part.length;
      if (this.filled === this.frame.length) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage(this.frame.slice(0, this.filled));
    this.filled = 0;
  }

  flush() {
    this.flushed = true;
    if (this.filled) this.send();
    this.port.postMessage(null);
  }
}

registerProcessor("capture", Capture);
