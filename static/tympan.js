// window.tympan, the API for scripts in a page. docs/authors.md describes it.
class Tympan extends EventTarget {
  #opened = newPromise();
  #isSettled = false;
  #actions;

  // Resolves with a description of the loaded model. All promises reject with the error message on the page.
  get ready() { return this.#opened.promise; }

  // Transcribes a Blob, a File or an address. options: { terms, silenceS }.
  transcribe(blobOrUrl, options = {}) { return this.#run("transcribe", blobOrUrl, options); }

  // Transcribes the microphone until `stop` is called. options: as of `transcribe`.
  listen(options = {}) { return this.#run("listen", options); }
  stop() { this.#actions?.stop(); }

  // Called when a model is loaded: settles `ready` with its description, or with an Error.
  open(loaded) {
    if (this.#isSettled) this.#opened = newPromise();
    this.#isSettled = true;
    if (loaded instanceof Error) this.#opened.reject(loaded);
    else this.#opened.resolve(loaded);
  }

  // Dispatches the events of an EngineClient as "word", "partial", "turn" and "backend". transcribe, listen: functions
  // that queue a recording and return a promise of its transcript or an Error.
  connect(engine, transcribe, listen, stop) {
    this.#actions = { transcribe, listen, stop };
    engine.addEventListener("update", ({ detail: { words, partial, seconds } }) => {
      for (const word of words) this.#emit("word", word);
      this.#emit("partial", { text: partial, seconds });
    });
    engine.addEventListener("turn", ({ detail: { turn, seconds } }) => this.#emit("turn", { turn, seconds }));
    engine.addEventListener("backend", ({ detail }) => this.#emit("backend", detail));
  }

  #emit(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }

  async #run(action, ...values) {
    await this.ready;
    const transcript = await this.#actions[action](...values);
    if (transcript instanceof Error) throw transcript;
    return transcript;
  }
}

function newPromise() {
  const opened = Promise.withResolvers();
  opened.promise.catch(() => {}); // a page that does not use it sees no unhandled rejection
  return opened;
}

window.tympan = new Tympan();
