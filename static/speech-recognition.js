// SpeechRecognition of the Web Speech API (https://webaudio.github.io/web-speech-api/), on Tympan.
//
//   import { SpeechRecognition } from "https://example.org/tympan/speech-recognition.js";
//
// Importing it also replaces the browser's own. `?model=` and `?backend=` after the address choose what runs. Beyond
// the standard, every alternative has its `words`, each { text, start, end } in seconds since `audiostart`, and every
// result its `speechStartTime` and `speechEndTime`.
import { AudioSource } from "./bridge/audio_source.js";
import { EngineClient, HOME } from "./bridge/engine_client.js";

const NO_SPEECH_MS = 8000; // after which a recognition that is not continuous ends with the error "no-speech"
const KINDS = ["start", "audiostart", "soundstart", "speechstart", "result", "nomatch", "speechend", "soundend",
  "audioend", "error", "end"];
const ERRORS = {
  "aborted": ["AbortError", "TooSlow"],
  "not-allowed": ["NotAllowedError", "SecurityError"],
  "audio-capture": ["NotFoundError", "NotReadableError"],
  "network": ["DownloadFailed", "CorruptFile"],
};

const engine = EngineClient.of(new URL(import.meta.url).searchParams);

export class SpeechRecognition extends EventTarget {
  lang = "";
  continuous = false;
  interimResults = false;
  maxAlternatives = 1; // the model offers one
  processLocally = false; // it always does
  grammars = null; // removed from the standard; has no effect
  #phrases = [];
  #handlers = {}; // by kind of event
  #session;

  constructor() {
    super();
    for (const kind of KINDS) this.addEventListener(kind, (event) => this.#handlers[kind]?.call(this, event));
  }

  // Handlers as attributes: onresult and the others.
  static {
    for (const kind of KINDS) {
      Object.defineProperty(this.prototype, `on${kind}`, {
        enumerable: true,
        configurable: true,
        get() { return this.#handlers[kind] ?? null; },
        set(handler) { this.#handlers[kind] = typeof handler === "function" ? handler : null; },
      });
    }
  }

  get phrases() { return this.#phrases; }

  set phrases(phrases) {
    if (phrases.length) throw new SpeechRecognitionErrorEvent("error", { error: "phrases-not-supported" });
    this.#phrases = phrases;
  }

  start(audioTrack = undefined) {
    if (audioTrack && (audioTrack.kind !== "audio" || audioTrack.readyState !== "live")) {
      throw new DOMException("The track is not a live audio track.", "InvalidStateError");
    }
    if (this.#session) throw new DOMException("The recognition has already started.", "InvalidStateError");
    this.#session = new Session(this, audioTrack);
    this.#session.run().finally(() => {
      this.#session = undefined;
      this.dispatchEvent(new Event("end"));
    });
  }

  stop() { this.#session?.stop(false); }
  abort() { this.#session?.stop(true); }

  static async available({ langs, processLocally = false }) {
    if (!(await supports(langs))) return "unavailable";
    if (engine.info || !processLocally) return "available";
    if (engine.isLoading) return "downloading";
    const { missing } = await engine.offer();
    return missing ? "downloadable" : "available";
  }

  static async install({ langs }) {
    return (await supports(langs)) && engine.load().then(() => true, () => false);
  }
}

// One recognition, from `start` to `end`.
class Session {
  #stopped = Promise.withResolvers(); // with whether everything is to be discarded
  #isDropped = false;
  #open = []; // kinds of the start events whose end event is still to come
  #finals = []; // results
  #words = []; // of the current turn
  #partial = "";
  #noSpeechTimer;
  #noSpeech; // the error after that timer

  constructor(recognition, track) {
    Object.assign(this, { recognition, track });
  }

  stop(isDropped) {
    this.#isDropped ||= isDropped;
    this.#stopped.resolve(isDropped);
  }

  async run() {
    let error;
    const open = () => (this.track ? AudioSource.openTrack(this.track) : AudioSource.openMicrophone());
    try {
      await this.#checkLanguage();
      const { words } = await engine.listen(open, this.#stopped.promise, {
        onstart: () => this.#onStart(),
        onupdate: (update) => this.#onUpdate(update),
        onturn: ({ turn }) => this.#onTurn(turn),
      });
      this.#finish(words);
    } catch (reason) {
      error = reason;
    }
    clearTimeout(this.#noSpeechTimer);
    for (const kind of this.#open.reverse()) this.#emit(new Event(`${kind}end`));
    if (error) this.#fail(error);
  }

  async #checkLanguage() {
    const lang = this.recognition.lang || document.documentElement.lang;
    if (!lang || (await supports([lang]))) return;
    throw newError("language-not-supported", `The model does not know “${lang}”.`);
  }

  #onStart() {
    this.#emit(new Event("start"));
    this.#start("audio");
    if (this.recognition.continuous) return;
    this.#noSpeechTimer = setTimeout(() => {
      this.#noSpeech = newError("no-speech", "No speech was detected.");
      this.stop(true);
    }, NO_SPEECH_MS);
  }

  #onUpdate({ words, partial }) {
    if (this.#isDropped || (!words.length && partial === this.#partial)) return;
    this.#onSpeech();
    this.#words.push(...words);
    this.#partial = partial;
    if (this.recognition.interimResults) this.#emitResults(this.#interim());
  }

  #onTurn(turn) {
    if (this.#isDropped) return;
    if (turn === "speech") this.#onSpeech();
    if (turn !== "end" || !this.#open.includes("speech")) return;
    if (this.#words.length) this.#finishTurn();
    if (!this.recognition.continuous) this.stop(false);
  }

  #onSpeech() {
    clearTimeout(this.#noSpeechTimer);
    if (this.#open.includes("speech")) return;
    this.#start("sound");
    this.#start("speech");
  }

  // The recording is over. All of its words have come as updates; only now are their ends final.
  #finish(words) {
    this.#partial = "";
    if (this.#words.length) {
      this.#words = words.slice(-this.#words.length);
      this.#finishTurn();
    } else if (!this.#finals.length && this.#open.includes("speech")) {
      this.#emit(new SpeechRecognitionEvent("nomatch", { results: SpeechRecognitionResultList.frozen([]) }));
    }
  }

  // A continuous recognition has one final result for every turn, another one has one in all.
  #finishTurn() {
    if (!this.recognition.continuous && this.#finals.length) return;
    const index = this.#finals.length;
    this.#onSpeech();
    this.#finals.push(this.#result(this.#words, "", true));
    this.#words = [];
    this.#emitResults([], index);
  }

  #interim() {
    const isOver = !this.recognition.continuous && this.#finals.length > 0;
    const isEmpty = !this.#words.length && !this.#partial;
    return isOver || isEmpty ? [] : [this.#result(this.#words, this.#partial, false)];
  }

  #result(words, partial, isFinal) {
    const text = [...words.map((word) => word.text), ...(partial ? [partial] : [])].join(" ");
    const transcript = this.#finals.length ? ` ${text}` : text; // so that results can be concatenated
    return SpeechRecognitionResult.frozen([new SpeechRecognitionAlternative(transcript, [...words])], { isFinal });
  }

  #emitResults(interim, resultIndex = this.#finals.length) {
    const results = SpeechRecognitionResultList.frozen([...this.#finals, ...interim]);
    this.#emit(new SpeechRecognitionEvent("result", { resultIndex, results }));
  }

  #start(kind) {
    this.#open.push(kind);
    this.#emit(new Event(`${kind}start`));
  }

  #fail(reason) {
    const cause = this.#noSpeech ?? reason;
    const name = cause.fields?.cause ?? cause.name;
    const code = Object.keys(ERRORS).find((key) => ERRORS[key].includes(name));
    const error = cause.error ?? code ?? "service-not-allowed";
    this.#emit(new SpeechRecognitionErrorEvent("error", { error, message: cause.message }));
  }

  #emit(event) { this.recognition.dispatchEvent(event); }
}

export class SpeechRecognitionEvent extends Event {
  constructor(type, { resultIndex = 0, results, ...init }) {
    super(type, init);
    Object.assign(this, { resultIndex, results });
  }
}

export class SpeechRecognitionErrorEvent extends Event {
  constructor(type, { error, message = "", ...init }) {
    super(type, init);
    Object.assign(this, { error, message });
  }
}

class List extends Array {
  // facts: further properties.
  static frozen(items, facts = {}) {
    return Object.freeze(Object.assign(this.from(items), facts));
  }

  item(index) { return this[index] ?? null; }
}

export class SpeechRecognitionAlternative {
  // The model gives no confidence.
  constructor(transcript, words) {
    Object.freeze(Object.assign(this, { transcript, confidence: 1, words }));
  }
}

export class SpeechRecognitionResult extends List {
  get speechStartTime() { return this[0].words[0]?.start; }
  get speechEndTime() { return this[0].words.at(-1)?.end; }
}

export class SpeechRecognitionResultList extends List {}

// Whether the model knows all of these languages; a tag without a region stands for all of its regions.
async function supports(langs) {
  const wanted = langs.map(languageOf);
  const known = await languages();
  return wanted.length > 0 && (!known?.length || wanted.every((language) => known.includes(language)));
}

function languageOf(tag) {
  try {
    return new Intl.Locale(tag).language;
  } catch {
    throw new DOMException(`“${tag}” is not a language tag.`, "SyntaxError");
  }
}

// The languages of the model that is loaded, else those that the catalogue lists for it; undefined where only loading
// would show them, empty where the model states none.
async function languages() {
  if (engine.info) return engine.info.languages;
  const { models } = await (await fetch(`${HOME}models/catalogue.json`)).json();
  return (engine.model ? models.find(({ id }) => id === engine.model) : models[0])?.languages;
}

// error: a code of the standard.
function newError(error, message) {
  return Object.assign(new Error(message), { error });
}

const standard = [SpeechRecognition, SpeechRecognitionEvent, SpeechRecognitionErrorEvent,
  SpeechRecognitionAlternative, SpeechRecognitionResult, SpeechRecognitionResultList];
for (const item of standard) globalThis[item.name] = item;
globalThis.webkitSpeechRecognition = SpeechRecognition;
