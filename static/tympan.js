// window.tympan, for scripts: there from the first moment, long before Python is.
//
//   const { title, backend } = await tympan.ready
//   const { text, words, seconds, frames, timing } = await tympan.transcribe(blobOrUrl)
class Tympan {
  #opened = Promise.withResolvers();
  #isSettled = false;
  #transcribe;
  #last; // the newest transcription, which the next one waits for

  constructor() {
    this.#last = this.ready.catch(() => {}); // a page that never asks need not hear of a failure
  }

  // Resolves with what is loaded; rejects with the sentence on the screen.
  get ready() {
    return this.#opened.promise;
  }

  // Transcribes a Blob, a File or an address; rejects with the sentence on the screen.
  transcribe(blobOrUrl) {
    const turn = this.#last.then(() => this.ready).then(() => this.#transcribe(blobOrUrl)).then(unwrap);
    this.#last = turn.catch(() => {});
    return turn;
  }

  // For main.py: what is loaded or why nothing is, as JSON, and the function that transcribes and answers with JSON.
  // Called again when a person loads another model.
  open(loaded, transcribe) {
    this.#transcribe = transcribe;
    if (this.#isSettled) this.#opened = Promise.withResolvers();
    this.#isSettled = true;
    this.ready.catch(() => {});
    try {
      this.#opened.resolve(unwrap(loaded));
    } catch (failure) {
      this.#opened.reject(failure);
    }
  }
}

function unwrap(json) {
  const { value, error } = JSON.parse(json);
  if (error) throw Object.assign(new Error(error.message), { name: error.kind });
  return value;
}

window.tympan = new Tympan();
