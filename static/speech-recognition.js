// SpeechRecognition of the Web Speech API (https://webaudio.github.io/web-speech-api/), on Tympan.
//
//   import { SpeechRecognition } from "https://example.org/tympan/speech-recognition.js";
//
// Importing it also puts it in place of the browser's own. `?model=` and `?backend=` after the address choose what
// runs. Beyond the standard, every alternative has its `words`, each { text, start, end } in seconds since
// `audiostart`, and every result its `speechStartTime` and `speechEndTime`.
import { Engine, HOME } from "./embed/engine.js";

const NO_SPEECH_MS = 8000; // after which a recognition that is not continuous gives up
const KINDS = ["start", "audiostart", "soundstart", "speechstart", "result", "nomatch", "speechend", "soundend",
  "audioend", "error", "end"];
const ERRORS = {
  AbortError: "aborted",
  TooSlow: "aborted",
  NotAllowedError: "not-allowed",
  SecurityError: "not-allowed",
  NotFoundError: "audio-capture",
  NotReadableError: "audio-capture",
  DownloadFailed: "network",
  CorruptFile: "network",
};

const engine = Engine.of(new URL(import.meta.url).searchParams);

export class SpeechRecognition extends EventTarget {
  lang = "";
  continuous = false;
  interimResults = false;
  maxAlternatives = 1; // the model offers one
  processLocally = false; // it always does
  grammars = null; // no longer of the standard, and without effect
  #phrases = [];
  #session;

  get phrases() {
    return this.#phrases;
  }

  set phrases(phrases) {
    if (phrases.length) throw new SpeechRecognitionErrorEvent("error", { error: "phrases-not-supported" });
    this.#phrases = phrases;
  }

  start(audioTrack = undefined) {
    if (audioTrack && (audioTrack.kind !== "audio" || audioTrack.readyState !== "live")) {
      throw new DOMException("The track is not one of live sound.", "InvalidStateError");
    }
    if (this.#session) throw new DOMException("The recognition has already started.", "InvalidStateError");
    this.#session = new Session(this, audioTrack);
    this.#session.run().finally(() => {
      this.#session = undefined;
      this.dispatchEvent(new Event("end"));
    });
  }

  stop() {
    this.#session?.stop(false);
  }

  abort() {
    this.#session?.stop(true);
  }

  static async available({ langs, processLocally = false }) {
    if (!(await supports(langs))) return "unavailable";
    if (engine.isLoaded || !processLocally) return "available";
    if (engine.isLoading) return "downloading";
    const { missing } = await engine.call("offer", engine.model, HOME);
    return missing ? "downloadable" : "available";
  }

  static async install({ langs }) {
    return (await supports(langs)) && engine.load().then(() => true, () => false);
  }
}

// Handlers as attributes: onresult and the others.
for (const kind of KINDS) {
  const handlers = new WeakMap();
  Object.defineProperty(SpeechRecognition.prototype, `on${kind}`, {
    enumerable: true,
    configurable: true,
    get() {
      return handlers.get(this)?.handler ?? null;
    },
    set(handler) {
      this.removeEventListener(kind, handlers.get(this)?.listener);
      handlers.delete(this);
      if (typeof handler !== "function") return;
      const listener = (event) => handler.call(this, event);
      handlers.set(this, { handler, listener });
      this.addEventListener(kind, listener);
    },
  });
}

// From `start` to `end`.
class Session {
  #recognition;
  #track;
  #stopped = Promise.withResolvers(); // with whether everything is to be thrown away
  #isDropped = false;
  #begun = []; // kinds of the events whose end is still to be told
  #finals = []; // results
  #words = []; // of the turn that goes on
  #partial = "";
  #patience; // a timer
  #silence; // the failure when it has run out

  constructor(recognition, track) {
    this.#recognition = recognition;
    this.#track = track;
  }

  stop(isDropped) {
    this.#isDropped ||= isDropped;
    this.#stopped.resolve(isDropped);
  }

  async run() {
    let failure;
    try {
      await this.#checkLanguage();
      await engine.listen(this.#stopped.promise, {
        onstart: () => this.#onStart(),
        onheard: (heard) => this.#onHeard(heard),
        onturn: ({ turn }) => this.#onTurn(turn),
      }, this.#track).then((transcript) => this.#finish(transcript));
    } catch (error) {
      failure = error;
    }
    clearTimeout(this.#patience);
    this.#close();
    if (failure) this.#fail(failure);
  }

  async #checkLanguage() {
    const lang = this.#recognition.lang || document.documentElement.lang;
    if (!lang || (await supports([lang]))) return;
    throw failed("language-not-supported", `The model does not know “${lang}”.`);
  }

  #onStart() {
    this.#tell(new Event("start"));
    this.#begin("audio");
    if (this.#recognition.continuous) return;
    this.#patience = setTimeout(() => {
      this.#silence = failed("no-speech", "Nobody said anything.");
      this.stop(true);
    }, NO_SPEECH_MS);
  }

  #onHeard({ words, partial }) {
    if (this.#isDropped || (!words.length && partial === this.#partial)) return;
    this.#onSpeech();
    this.#words.push(...words.map(({ text, start, end }) => ({ text, start, end })));
    this.#partial = partial;
    if (this.#recognition.interimResults) this.#tellResults(this.#interim());
  }

  #onTurn(turn) {
    if (this.#isDropped) return;
    if (turn === "speech") this.#onSpeech();
    if (turn !== "end" || !this.#begun.includes("speech")) return;
    if (this.#words.length) this.#finishTurn();
    if (!this.#recognition.continuous) this.stop(false);
  }

  #onSpeech() {
    clearTimeout(this.#patience);
    if (this.#begun.includes("speech")) return;
    this.#begin("sound");
    this.#begin("speech");
  }

  // What the end of the recording has brought out.
  #finish({ words }) {
    const n_told = this.#finals.reduce((n, result) => n + result[0].words.length, 0);
    this.#words = words.slice(n_told);
    this.#partial = "";
    if (this.#words.length) this.#finishTurn();
    else if (!this.#finals.length && this.#begun.includes("speech")) {
      this.#tell(new SpeechRecognitionEvent("nomatch", { results: resultList([]) }));
    }
  }

  // One final result of a recognition that is not continuous; one for every turn otherwise.
  #finishTurn() {
    if (!this.#recognition.continuous && this.#finals.length) return;
    const index = this.#finals.length;
    this.#onSpeech();
    this.#finals.push(this.#result(this.#words, "", true));
    this.#words = [];
    this.#tellResults([], index);
  }

  #interim() {
    const isOver = !this.#recognition.continuous && this.#finals.length > 0;
    const isEmpty = !this.#words.length && !this.#partial;
    return isOver || isEmpty ? [] : [this.#result(this.#words, this.#partial, false)];
  }

  #result(words, partial, isFinal) {
    const text = [...words.map((word) => word.text), ...(partial ? [partial] : [])].join(" ");
    const transcript = this.#finals.length ? ` ${text}` : text; // so that results can be put together as they are
    return new SpeechRecognitionResult([new SpeechRecognitionAlternative(transcript, [...words])], isFinal);
  }

  #tellResults(interim, resultIndex = this.#finals.length) {
    const results = resultList([...this.#finals, ...interim]);
    this.#tell(new SpeechRecognitionEvent("result", { resultIndex, results }));
  }

  #begin(kind) {
    this.#begun.push(kind);
    this.#tell(new Event(`${kind}start`));
  }

  #close() {
    for (const kind of this.#begun.reverse()) this.#tell(new Event(`${kind}end`));
    this.#begun = [];
  }

  #fail(failure) {
    const cause = this.#silence ?? failure;
    const error = cause.error ?? ERRORS[cause.name] ?? "service-not-allowed";
    this.#tell(new SpeechRecognitionErrorEvent("error", { error, message: cause.message }));
  }

  #tell(event) {
    this.#recognition.dispatchEvent(event);
  }
}

export class SpeechRecognitionEvent extends Event {
  constructor(type, { resultIndex = 0, results, ...init }) {
    super(type, init);
    this.resultIndex = resultIndex;
    this.results = results;
  }
}

export class SpeechRecognitionErrorEvent extends Event {
  constructor(type, { error, message = "", ...init }) {
    super(type, init);
    this.error = error;
    this.message = message;
  }
}

// A list by index, with `length` and `item`, and to be iterated over.
class List {
  constructor(items, more = {}) {
    Object.assign(this, items);
    for (const [name, value] of Object.entries({ length: items.length, ...more })) {
      Object.defineProperty(this, name, { value });
    }
    Object.freeze(this);
  }

  item(index) {
    return this[index] ?? null;
  }

  [Symbol.iterator]() {
    return Array.prototype.values.call(this);
  }
}

export class SpeechRecognitionAlternative {
  // The model tells no confidence.
  constructor(transcript, words) {
    Object.assign(this, { transcript, confidence: 1, words });
    Object.freeze(this);
  }
}

export class SpeechRecognitionResult extends List {
  constructor(alternatives, isFinal) {
    super(alternatives, { isFinal });
  }

  get speechStartTime() {
    return this[0].words[0]?.start;
  }

  get speechEndTime() {
    return this[0].words.at(-1)?.end;
  }
}

export class SpeechRecognitionResultList extends List {}

function resultList(results) {
  return new SpeechRecognitionResultList(results);
}

// Whether the model knows all of these languages; a tag without a region stands for all of its regions.
async function supports(langs) {
  for (const lang of langs) checkTag(lang);
  const known = await languages();
  return langs.length > 0 && (!known?.length || langs.every((lang) => known.includes(new Intl.Locale(lang).language)));
}

function checkTag(lang) {
  try {
    new Intl.Locale(lang);
  } catch {
    throw new DOMException(`“${lang}” is no language tag.`, "SyntaxError");
  }
}

// Those of the model: of what is loaded, else as the catalogue says; undefined where only loading it could tell, none
// where its author did not say.
async function languages() {
  if (engine.isLoaded) return (await engine.load()).languages;
  const { models } = await (await fetch(`${HOME}models/catalogue.json`)).json();
  return (engine.model ? models.find(({ id }) => id === engine.model) : models[0])?.languages;
}

// error: a code of the standard.
function failed(error, message) {
  return Object.assign(new Error(message), { error });
}

Object.assign(globalThis, {
  SpeechRecognition,
  webkitSpeechRecognition: SpeechRecognition,
  SpeechRecognitionEvent,
  SpeechRecognitionErrorEvent,
  SpeechRecognitionAlternative,
  SpeechRecognitionResult,
  SpeechRecognitionResultList,
});
