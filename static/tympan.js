// window.tympan, for scripts: there from the first moment, long before Python is.
//
//   const { title, backend } = await tympan.ready
//   const { text, words, seconds, frames, timing } = await tympan.transcribe(blobOrUrl)
//   tympan.addEventListener("word", ({ detail }) => console.log(detail.text, detail.start, detail.end))
//   const { text, words } = await tympan.listen()    // until tympan.stop()
class Tympan extends EventTarget {
  #opened = Promise.withResolvers();
  #isSettled = false;
  #actions;
  #last; // the newest recording, which the next one waits for

  constructor() {
    super();
    this.#last = this.ready.catch(() => {}); // a page that never asks need not hear of a failure
  }

  // Resolves with what is loaded; rejects with the sentence on the screen.
  get ready() {
    return this.#opened.promise;
  }

  // Transcribes a Blob, a File or an address; rejects with the sentence on the screen.
  transcribe(blobOrUrl) {
    return this.#inTurn(() => this.#actions.transcribe(blobOrUrl));
  }

  // Transcribes the microphone until `stop`; rejects with the sentence on the screen.
  listen() {
    return this.#inTurn(() => this.#actions.listen());
  }

  // Ends what `listen` began.
  stop() {
    this.#actions?.stop?.();
  }

  // For whoever runs the engine: what is loaded or why nothing is, as JSON, and functions, of which the first two
  // answer with JSON. Called again when a person loads another model.
  open(loaded, transcribe, listen, stop) {
    this.#actions = { transcribe, listen, stop };
    if (this.#isSettled) this.#opened = Promise.withResolvers();
    this.#isSettled = true;
    this.ready.catch(() => {});
    try {
      this.#opened.resolve(unwrap(loaded));
    } catch (failure) {
      this.#opened.reject(failure);
    }
  }

  // For whoever runs the engine: a message of it becomes events "word", "partial" and "turn".
  hear({ kind, words, partial, turn, seconds }) {
    if (kind === "turn") this.#tell("turn", { turn, seconds });
    if (kind !== "heard") return;
    for (const { text, start, end } of words) this.#tell("word", { text, start, end });
    this.#tell("partial", { text: partial, seconds });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #inTurn(action) {
    const turn = this.#last.then(() => this.ready).then(action).then(unwrap);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

function unwrap(json) {
  const { value, error } = JSON.parse(json);
  if (error) throw Object.assign(new Error(error.message), { name: error.kind });
  return value;
}

window.tympan = new Tympan();
