// Divides the samples of a live source into frames and posts them to the page. Runs on the audio thread.
class Capture extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.frame = new Float32Array(processorOptions.frame);
    this.nFilled = 0;
    this.port.onmessage = () => this.flush();
  }

  process([[samples]]) {
    if (this.isFlushed) return false;
    for (let start = 0; samples && start < samples.length; ) {
      const part = samples.subarray(start, start + this.frame.length - this.nFilled);
      this.frame.set(part, this.nFilled);
      this.nFilled += part.length;
      start += part.length;
      if (this.nFilled === this.frame.length) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage(this.frame.slice(0, this.nFilled));
    this.nFilled = 0;
  }

  // Posts the last, incomplete frame, then null.
  flush() {
    this.isFlushed = true;
    if (this.nFilled) this.send();
    this.port.postMessage(null);
  }
}

registerProcessor("capture", Capture);
