// window.tympan, for scripts:
//
//   const { title, backend } = await tympan.ready
//   const { text, words, seconds, frames, timing } = await tympan.transcribe(blobOrUrl)
//   tympan.addEventListener("word", ({ detail }) => console.log(detail.text, detail.start, detail.end))
//   const { text, words } = await tympan.listen()    // until tympan.stop()
class Tympan extends EventTarget {
  #opened = newPromise();
  #isSettled = false;
  #actions;
  #last = Promise.resolve(); // the newest recording

  // Resolves with what is loaded; rejects with the sentence on the screen.
  get ready() {
    return this.#opened.promise;
  }

  // Transcribes a Blob, a File or an address; rejects with the sentence on the screen.
  transcribe(blobOrUrl) {
    return this.#run(() => this.#actions.transcribe(blobOrUrl));
  }

  // Transcribes the microphone until `stop`; rejects with the sentence on the screen.
  listen() {
    return this.#run(() => this.#actions.listen());
  }

  // Ends what `listen` started.
  stop() {
    this.#actions?.stop();
  }

  // For whoever loads models: what is loaded, or an Error. Called again when another model is loaded.
  open(loaded) {
    if (this.#isSettled) this.#opened = newPromise();
    this.#isSettled = true;
    if (loaded instanceof Error) this.#opened.reject(loaded);
    else this.#opened.resolve(loaded);
  }

  // For whoever runs the engine: its client, whose events become "word", "partial", "turn" and "backend"; and three
  // functions, of which the first two queue a recording and give a promise of its transcript, or of an Error.
  connect(engine, transcribe, listen, stop) {
    this.#actions = { transcribe, listen, stop };
    engine.addEventListener("update", ({ detail: { words, partial, seconds } }) => {
      for (const word of words) this.#emit("word", word);
      this.#emit("partial", { text: partial, seconds });
    });
    engine.addEventListener("turn", ({ detail: { turn, seconds } }) => this.#emit("turn", { turn, seconds }));
    engine.addEventListener("backend", ({ detail }) => this.#emit("backend", detail));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // One after the other: coroutines of MicroPython that JavaScript calls cannot wait for a lock.
  #run(action) {
    const done = this.#last.then(() => this.ready).then(action).then((transcript) => {
      if (transcript instanceof Error) throw transcript;
      return transcript;
    });
    this.#last = done.catch(() => {});
    return done;
  }
}

// Its rejection is not reported in a page that never asks.
function newPromise() {
  const opened = Promise.withResolvers();
  opened.promise.catch(() => {});
  return opened;
}

window.tympan = new Tympan();
