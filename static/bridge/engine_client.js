// The page's connection to the engine, a worker with one model that transcribes one recording at a time.
import { toError } from "./errors.js";
import { CHUNK_SAMPLES, SAMPLE_RATE_HZ, SILENCE_S } from "./protocol.js";

export const HOME = new URL("..", import.meta.url).href;

// Dispatches the events of protocol.py as CustomEvents, whose `detail` holds the fields.
export class EngineClient extends EventTarget {
  #worker;
  #requests = new Map(); // { resolve, reject } by id
  #nRequests = 0;
  #last = Promise.resolve(); // the newest recording; the next one waits for it
  #recording; // in progress: { number, sequence, listener, fail }
  #nRecordings = 0;
  #loading;

  static #clients = {}; // by their options, as JSON

  static #defaults = {
    model: "", backend: "auto", mimi: "auto", simd: "auto", embeddings: "q4", silence: SILENCE_S, terms: "",
  };

  // Returns the client for the parameters of an address: those of #defaults. Equal options share one client.
  static of(query) {
    const options = { ...EngineClient.#defaults };
    for (const name of Object.keys(options)) options[name] = query.get(name) || options[name];
    const key = JSON.stringify(options);
    return EngineClient.#clients[key] ??= new EngineClient(options);
  }

  // model: an id of the catalogue, "" for its first one, or the address of a model directory.
  // embeddings: "q4" or "q8", the format of the tables of a checkpoint that is converted in the page.
  // silence, terms: of recordings that do not set their own: the seconds that end a turn; terms separated by commas.
  constructor({ model, backend, mimi, simd, embeddings, silence = SILENCE_S, terms = "" }) {
    super();
    Object.assign(this, { model, backend, mimi, simd, embeddings });
    this.silenceS = Number(silence) || SILENCE_S;
    this.terms = terms.replaceAll(",", "\n");
    this.info = undefined; // description of the loaded model
  }

  get isLoading() { return this.#loading !== undefined && !this.info; }

  // Loads the client's model, once. After a failure, the next call tries again.
  load() {
    return this.#loading ??= this.open(this.model).catch((error) => {
      this.#loading = undefined;
      throw error;
    });
  }

  // Loads a model and replaces the previous one, unless loading fails.
  async open(model) {
    const { backend, mimi, simd, embeddings } = this;
    this.info = await this.request("open_model", { model, backend, mimi, simd, embeddings, page_url: HOME });
    this.#loading = Promise.resolve(this.info);
    return this.info;
  }

  // Describes the download of a model, and whether the user must agree to it first.
  offer(model = this.model) {
    return this.request("offer", { model, embeddings: this.embeddings, page_url: HOME });
  }

  // Sends a request. Rejects with the worker's error: `name` is its kind, `message` a sentence for the screen.
  request(name, fields = {}) {
    const id = this.#nRequests++;
    return new Promise((resolve, reject) => {
      this.#requests.set(id, { resolve, reject });
      this.#post({ id, name, fields });
    });
  }

  // Transcribes samples at 24 kHz, after the recordings before it. getSamples: returns them or a promise. listener:
  // { onupdate, onturn }, called with events of this recording. stopped: a promise that ends it early.
  // options: { trace, silenceS, terms }; terms: a text of lines, or an array of lines or { text, weight }.
  transcribe(getSamples, listener = {}, { stopped = undefined, ...options } = {}) {
    return this.#enqueue(async () => {
      await this.load();
      const samples = await getSamples();
      let isStopped = false;
      stopped?.then(() => { isStopped = true; });
      return this.#record(SAMPLE_RATE_HZ, false, options, listener, async (recording) => {
        for (let start = 0; start < samples.length && !isStopped; start += CHUNK_SAMPLES) {
          const chunk = samples.slice(start, start + CHUNK_SAMPLES);
          await this.request("feed", { recording, samples: chunk });
        }
      });
    });
  }

  // Transcribes a live source until it ends or `stopped` resolves. If `stopped` rejects, discards everything.
  // openSource: returns a promise of an AudioSource. listener: as of `transcribe`, and { onopen, onstart, onsamples,
  // onfinish }, called when the source is open, when the engine is ready, with every frame, and when the source is
  // closed. options: as of `transcribe`. If an error ends the recording, `error.transcript` holds the words before it.
  listen(openSource, stopped, listener = {}, options = {}) {
    return this.#enqueue(async () => {
      const source = await openSource(); // it queues all frames while the model loads
      listener.onopen?.();
      try {
        await this.load();
        return await this.#record(source.rateHz, true, options, listener, async (recording, failed) => {
          source.start((samples) => {
            listener.onsamples?.(samples);
            this.#post({ name: "push", fields: { recording, samples } });
          });
          listener.onstart?.();
          await Promise.race([stopped, source.ended, failed]);
          await source.stop();
          listener.onfinish?.();
        });
      } finally {
        await source.close();
      }
    });
  }

  // Starts the worker. The first request does so too.
  start() {
    if (this.#worker) return;
    // Pages cannot start a worker of another origin, so the worker is a Blob of this page that imports it. The page's
    // Content-Security-Policy applies in it.
    const source = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
    const blob = new Blob([source], { type: "text/javascript" });
    this.#worker = new Worker(URL.createObjectURL(blob), { type: "module" });
    this.#worker.addEventListener("message", ({ data }) => ("id" in data ? this.#settle(data) : this.#dispatch(data)));
    this.#worker.addEventListener("error", ({ message = "no worker" }) => {
      const error = toError({ kind: "Bug", message: `Something went wrong inside Tympan (${message}).` });
      for (const { reject } of this.#requests.values()) reject(error);
      this.#requests.clear();
      this.#recording?.fail(error);
      this.#worker.terminate();
      this.#worker = this.#loading = this.info = undefined;
    });
  }

  // Starts a recording, calls `send` to send its audio, and resolves with the transcript.
  async #record(rateHz, live, options, listener, send) {
    const { trace = "", silenceS = this.silenceS, terms = this.terms } = options ?? {};
    const recording = ++this.#nRecordings;
    const failed = Promise.withResolvers();
    this.#recording = { number: recording, sequence: 0, listener, fail: failed.resolve };
    let error;
    failed.promise.then((reason) => { error = reason; });
    try {
      await this.request("begin", { recording, rate_hz: rateHz, live, trace, silence_s: silenceS, terms });
      await send(recording, failed.promise);
      const transcript = await this.request("finish", { recording });
      if (error) throw Object.assign(error, { transcript });
      return transcript;
    } catch (reason) {
      if (this.#worker) await this.request("abandon", { recording }).catch(() => {}); // the first error is reported
      throw reason;
    } finally {
      this.#recording = undefined;
    }
  }

  #post(message) {
    this.start();
    const { samples } = message.fields;
    this.#worker.postMessage(message, samples ? [samples.buffer] : []);
  }

  #enqueue(task) {
    const done = this.#last.then(task);
    this.#last = done.catch(() => {});
    return done;
  }

  // Dispatches an event. Ignores those of other recordings and late ones; events of the model have no recording.
  #dispatch({ event, ...fields }) {
    const { recording, sequence } = fields;
    if (recording !== undefined) {
      if (recording !== this.#recording?.number || sequence <= this.#recording.sequence) return;
      this.#recording.sequence = sequence;
    }
    if (event === "backend" && this.info) Object.assign(this.info, fields);
    if (event === "failure") this.#recording.fail(toError(fields));
    this.#recording?.listener[`on${event}`]?.(fields);
    this.dispatchEvent(new CustomEvent(event, { detail: fields }));
  }

  #settle({ id, value, error }) {
    const { resolve, reject } = this.#requests.get(id);
    this.#requests.delete(id);
    if (error) reject(toError(error));
    else resolve(value);
  }
}
