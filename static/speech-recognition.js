// SpeechRecognition of the Web Speech API (https://webaudio.github.io/web-speech-api/), on Tympan.
//
//   import { SpeechRecognition } from "https://example.org/tympan/speech-recognition.js";
//
// Importing it also replaces the browser's own. `?model=` and `?backend=` in the address select model and backend;
// `?terms=` adds a vocabulary.
// Beyond the standard, alternatives have `words`: { text, start, end, confidence } in seconds since `audiostart`;
// results have `speechStartTime` and `speechEndTime`.
import { openMicrophone, openTrack } from "./bridge/audio_source.js";
import { EngineClient, HOME } from "./bridge/engine_client.js";
import { DOUBTFUL } from "./bridge/protocol.js";

const NO_SPEECH_MS = 8000; // without speech, a recognition that is not continuous ends with the error "no-speech"
const KINDS = ["start", "audiostart", "soundstart", "speechstart", "result", "nomatch", "speechend", "soundend",
  "audioend", "error", "end"];
const ERRORS = { // codes of the standard by the name of the error
  AbortError: "aborted", TooSlow: "aborted", NotAllowedError: "not-allowed", SecurityError: "not-allowed",
  NotFoundError: "audio-capture", NotReadableError: "audio-capture", DownloadFailed: "network", CorruptFile: "network",
};

const engine = EngineClient.of(new URL(import.meta.url).searchParams);

export class SpeechRecognition extends EventTarget {
  lang = "";
  continuous = false;
  interimResults = false;
  maxAlternatives = 1;
  processLocally = false; // it always does
  grammars = null; // removed from the standard; has no effect
  #phrases = [];
  #session;

  constructor() {
    super();
    for (const kind of KINDS) {
      this[`on${kind}`] = null; // an event handler attribute
      this.addEventListener(kind, (event) => this[`on${kind}`]?.(event));
    }
  }

  // SpeechRecognitionPhrases that the speech may contain. Changes count from the next `start`.
  get phrases() { return this.#phrases; }

  set phrases(phrases) {
    const items = Array.from(phrases);
    if (!items.every((item) => item instanceof SpeechRecognitionPhrase)) {
      throw new TypeError("phrases holds SpeechRecognitionPhrase objects only.");
    }
    this.#phrases = items;
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

  stop() { this.#session?.stop(); }
  abort() { this.#session?.abort(new DOMException("The recognition was aborted.", "AbortError")); }

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
  #stopped = Promise.withResolvers(); // rejects with the error of `abort`
  #isAborted = false;
  #open = []; // kinds of start events that need an end event
  #finals = []; // final results
  #words = []; // of the current turn
  #partial = "";
  #noSpeechTimer;

  constructor(recognition, track) {
    Object.assign(this, { recognition, track });
    this.#stopped.promise.catch(() => {}); // an error before `listen` awaits it is not unhandled
  }

  stop() { this.#stopped.resolve(); }

  // Ends the recognition with an error and discards all words that are not final.
  abort(error) {
    this.#isAborted = true;
    this.#stopped.reject(error);
  }

  async run() {
    const open = () => (this.track ? openTrack(this.track) : openMicrophone());
    let error;
    try {
      await this.#checkLanguage();
      const { words } = await engine.listen(open, this.#stopped.promise, {
        onstart: () => this.#onStart(),
        onupdate: (update) => this.#onUpdate(update),
        onturn: ({ turn }) => this.#onTurn(turn),
      }, this.#options());
      this.#finish(words);
    } catch (reason) {
      error = reason;
    }
    clearTimeout(this.#noSpeechTimer);
    for (const kind of this.#open.reverse()) this.#emit(new Event(`${kind}end`));
    if (error) this.#fail(error);
  }

  // The phrases as terms, which add to those of the address.
  #options() {
    const terms = this.recognition.phrases.map(({ phrase, boost }) => ({ text: phrase, weight: boost }));
    return terms.length ? { terms: [...engine.terms.split("\n"), ...terms] } : {};
  }

  async #checkLanguage() {
    const lang = this.recognition.lang || document.documentElement.lang;
    if (lang && !(await supports([lang]))) throw newError("language-not-supported", `The model lacks “${lang}”.`);
  }

  #onStart() {
    this.#emit(new Event("start"));
    this.#start("audio");
    if (this.recognition.continuous) return;
    this.#noSpeechTimer = setTimeout(() => this.abort(newError("no-speech", "No speech was detected.")), NO_SPEECH_MS);
  }

  #onUpdate({ words, partial }) {
    if (this.#isAborted || (!words.length && partial === this.#partial)) return;
    this.#onSpeech();
    this.#words.push(...words);
    this.#partial = partial;
    if (this.recognition.interimResults) this.#emitInterim();
  }

  #onTurn(turn) {
    if (this.#isAborted) return;
    if (turn === "speech") this.#onSpeech();
    if (turn !== "end" || !this.#open.includes("speech")) return;
    if (this.#words.length) this.#finishTurn();
    if (!this.recognition.continuous) this.stop();
  }

  #onSpeech() {
    clearTimeout(this.#noSpeechTimer);
    if (this.#open.includes("speech")) return;
    this.#start("sound");
    this.#start("speech");
  }

  // Ends the recording. Updates have brought all words, but only these have their final end times.
  #finish(words) {
    this.#partial = "";
    if (this.#words.length) {
      this.#words = words.slice(-this.#words.length);
      this.#finishTurn();
    } else if (!this.#finals.length && this.#open.includes("speech")) {
      this.#emit(new SpeechRecognitionEvent("nomatch", { results: SpeechRecognitionResultList.frozen([]) }));
    }
  }

  // Adds a final result: one for every turn if the recognition is continuous, otherwise only one. A turn whose words
  // are all doubtful adds none, so that a recording in which nothing was understood ends with "nomatch".
  #finishTurn() {
    if (!this.#canAddResult()) return;
    this.#onSpeech();
    const isUnderstood = this.#words.some(({ confidence = 1 }) => confidence >= DOUBTFUL);
    if (isUnderstood) this.#finals.push(this.#result("", true));
    this.#words = [];
    if (isUnderstood) this.#emitResults(this.#finals.length - 1, this.#finals);
  }

  #emitInterim() {
    const hasText = this.#words.length > 0 || this.#partial !== "";
    const interim = hasText && this.#canAddResult() ? [this.#result(this.#partial, false)] : [];
    this.#emitResults(this.#finals.length, [...this.#finals, ...interim]);
  }

  #canAddResult() { return this.recognition.continuous || !this.#finals.length; }

  // A result of the words of the current turn, and the word in progress.
  #result(partial, isFinal) {
    const alternatives = alternativesOf(this.#words).slice(0, Math.max(1, this.recognition.maxAlternatives));
    const items = alternatives.map(({ words, confidence }) => {
      const text = [...words.map((word) => word.text), partial].join(" ").trimEnd();
      const transcript = this.#finals.length ? ` ${text}` : text; // so that authors can concatenate results
      return new SpeechRecognitionAlternative(transcript, words, confidence);
    });
    return SpeechRecognitionResult.frozen(items, { isFinal });
  }

  #emitResults(resultIndex, items) {
    const results = SpeechRecognitionResultList.frozen(items);
    this.#emit(new SpeechRecognitionEvent("result", { resultIndex, results }));
  }

  #start(kind) {
    this.#open.push(kind);
    this.#emit(new Event(`${kind}start`));
  }

  #fail(reason) {
    const error = reason.error ?? ERRORS[reason.fields?.cause ?? reason.name] ?? "service-not-allowed";
    this.#emit(new SpeechRecognitionErrorEvent("error", { error, message: reason.message }));
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
  // properties: to add to the list.
  static frozen(items, properties = {}) {
    return Object.freeze(Object.assign(this.from(items), properties));
  }

  item(index) { return this[index] ?? null; }
}

export class SpeechRecognitionPhrase {
  // boost: 0 to 10; 1 is the usual one.
  constructor(phrase, boost = 1) {
    if (!`${phrase}`.trim()) throw new DOMException("The phrase is empty.", "SyntaxError");
    if (!(boost >= 0 && boost <= 10)) throw new DOMException("The boost is not between 0 and 10.", "SyntaxError");
    Object.freeze(Object.assign(this, { phrase: `${phrase}`, boost: Number(boost) }));
  }
}

export class SpeechRecognitionAlternative {
  constructor(transcript, words, confidence) {
    Object.freeze(Object.assign(this, { transcript, words, confidence }));
  }
}

export class SpeechRecognitionResult extends List {
  get speechStartTime() { return this[0].words[0]?.start; }
  get speechEndTime() { return this[0].words.at(-1)?.end; }
}

export class SpeechRecognitionResultList extends List {}

// The words, and the same with the alternatives of the least certain word. The confidence of each is that of this word.
function alternativesOf(words) {
  if (!words.length) return [{ words: [], confidence: 0 }];
  const least = words.reduce((a, b) => (b.confidence < a.confidence ? b : a));
  const replaced = least.alternatives.map(({ text, confidence }) => ({
    words: words.map((word) => (word === least ? { ...word, text, confidence, alternatives: [] } : word)),
    confidence,
  }));
  return [{ words: [...words], confidence: least.confidence }, ...replaced];
}

// Whether the model knows all of these languages, in any region. A model that states no language may know any.
async function supports(langs) {
  const wanted = langs.map((tag) => {
    try {
      return new Intl.Locale(tag).language;
    } catch {
      throw new DOMException(`“${tag}” is not a language tag.`, "SyntaxError");
    }
  });
  const known = await languages();
  return wanted.length > 0 && (!known?.length || wanted.every((language) => known.includes(language)));
}

// The languages of the loaded model, or those that the catalogue lists for it; undefined if only loading shows them.
async function languages() {
  if (engine.info) return engine.info.languages;
  const { models } = await (await fetch(`${HOME}models/catalogue.json`)).json();
  return (engine.model ? models.find(({ id }) => id === engine.model) : models[0])?.languages;
}

const newError = (error, message) => Object.assign(new Error(message), { error }); // error: a code of the standard

const standard = [SpeechRecognition, SpeechRecognitionEvent, SpeechRecognitionErrorEvent, SpeechRecognitionPhrase,
  SpeechRecognitionAlternative, SpeechRecognitionResult, SpeechRecognitionResultList];
for (const item of standard) globalThis[item.name] = item;
globalThis.webkitSpeechRecognition = SpeechRecognition;
