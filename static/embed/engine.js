// One engine for the whole page: a model, and one recording at a time that goes through it.
import { Microphone } from "./microphone.js";
import { RATE_HZ, decode } from "./sound.js";

export const HOME = new URL("..", import.meta.url).href;
const CHUNK_SAMPLES = 2 * RATE_HZ; // of a file, handed over at once

export class Engine {
  #worker;
  #calls = new Map(); // by id: what settles the promise
  #nextId = 0;
  #last = Promise.resolve(); // the newest recording, which the next one waits for
  #listener = {}; // of the recording that goes on
  #loaded;
  onprogress = () => {}; // called with { phase, done, total } while the model loads

  static #engines = new Map();

  // The engine that an address asks for by its ?model= and ?backend=: the same one, however often it is asked for.
  static of(query) {
    const [model, backend] = [query.get("model") ?? "", query.get("backend") ?? "auto"];
    const key = JSON.stringify([model, backend]);
    if (!Engine.#engines.has(key)) Engine.#engines.set(key, new Engine(model, backend));
    return Engine.#engines.get(key);
  }

  // model: a name of the catalogue or the absolute address of a model directory. backend: as in ?backend=.
  constructor(model = "", backend = "auto") {
    this.model = model;
    this.backend = backend;
    this.isLoaded = false;
  }

  // What is loaded, as the engine tells; loads it first. Loading that failed is tried again by the next call.
  load() {
    this.#loaded ??= this.call("open_model", this.model, this.backend, "auto", HOME).then(
      (loaded) => {
        this.isLoaded = true;
        return loaded;
      },
      (error) => {
        this.#loaded = undefined;
        throw error;
      },
    );
    return this.#loaded;
  }

  get isLoading() {
    return this.#loaded !== undefined && !this.isLoaded;
  }

  // Calls a function of app/engine.py. Rejects with the sentence for the screen; the error's name is its kind.
  call(name, ...values) {
    this.#worker ??= this.#start();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, name, values });
    });
  }

  // Transcribes a Blob, a File or an address. listener: { onheard }, called with messages of the engine.
  transcribe(blobOrUrl, listener = {}) {
    return this.#inTurn(async () => {
      await this.load();
      const samples = await decode(blobOrUrl);
      return this.#record(RATE_HZ, false, listener, async () => {
        for (let start = 0; start < samples.length; start += CHUNK_SAMPLES) {
          await this.call("feed", samples.slice(start, start + CHUNK_SAMPLES));
        }
      });
    });
  }

  // Transcribes the microphone, or a track of somebody else's, until `stopped` resolves: true throws it all away.
  // listener: { onopen, onstart }, called when the sound is heard and when it is transcribed, and { onheard, onturn },
  // called with messages of the engine.
  listen(stopped, listener = {}, track = undefined) {
    return this.#inTurn(async () => {
      const microphone = await Microphone.open(track); // first: words wait in it while the model loads
      listener.onopen?.();
      try {
        await this.load();
        return await this.#record(microphone.rateHz, true, listener, async () => {
          const isDropped = await this.#pass(microphone, stopped, listener);
          if (isDropped) throw new DOMException("Nobody wants to know any more.", "AbortError");
        });
      } finally {
        await microphone.close();
      }
    });
  }

  async #pass(microphone, stopped, listener) {
    const failed = Promise.withResolvers();
    microphone.start((samples) => this.call("hear", samples).catch(failed.reject));
    listener.onstart?.();
    const isDropped = await Promise.race([stopped, microphone.ended, failed.promise]);
    await microphone.stop();
    return isDropped === true;
  }

  // Begins a recording, lets `pass` pass the sound on, and resolves with the transcript.
  async #record(rateHz, isLive, listener, pass) {
    this.#listener = listener;
    try {
      await this.call("begin", rateHz, isLive, "");
      await pass();
      return await this.call("finish");
    } catch (error) {
      await this.call("abandon").catch(() => {}); // it is the first failure that matters
      throw error;
    } finally {
      this.#listener = {};
    }
  }

  #inTurn(task) {
    const turn = this.#last.then(task);
    this.#last = turn.catch(() => {});
    return turn;
  }

  #start() {
    const worker = startWorker(new URL("worker.js", import.meta.url));
    worker.addEventListener("message", ({ data }) => this.#receive(data));
    worker.addEventListener("error", (event) => {
      const error = new Error(event.message || "The engine cannot be started in this page.");
      for (const { reject } of this.#calls.values()) reject(error);
      this.#calls.clear();
      this.#worker = this.#loaded = undefined;
      this.isLoaded = false;
    });
    return worker;
  }

  #receive(message) {
    if (message.kind === "progress") this.onprogress(message);
    else if (message.kind === "heard") this.#listener.onheard?.(message);
    else if (message.kind === "turn") this.#listener.onturn?.(message);
    else this.#settle(message);
  }

  #settle({ id, answer }) {
    const { resolve, reject } = this.#calls.get(id);
    this.#calls.delete(id);
    const { value, error } = JSON.parse(answer);
    if (error) reject(Object.assign(new Error(error.message), { name: error.kind }));
    else resolve(value);
  }
}

// A worker of another origin cannot be started; one of this page's own that imports it can.
function startWorker(url) {
  if (url.origin === location.origin) return new Worker(url, { type: "module" });
  const source = new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" });
  return new Worker(URL.createObjectURL(source), { type: "module" });
}
