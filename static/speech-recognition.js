// SpeechRecognition of the Web Speech API (https://webaudio.github.io/web-speech-api/), on Tympan.
//
//   import { SpeechRecognition } from "https://example.org/tympan/speech-recognition.js";
//
// Importing it also replaces the browser's own. `?model=` and `?backend=` in the address select model and backend.
// Beyond the standard, alternatives have `words`: { text, start, end } in seconds since `audiostart`; results have
// `speechStartTime` and `speechEndTime`.
import { AudioSource } from "./bridge/audio_source.js";
import { EngineClient, HOME } from "./bridge/engine_client.js";

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
  maxAlternatives = 1; // the model offers one
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
  #stopped = Promise.withResolvers(); // resolves with whether to discard everything
  #isDropped = false;
  #open = []; // kinds of start events that need an end event
  #finals = []; // final results
  #words = []; // of the current turn
  #partial = "";
  #noSpeechTimer;
  #noSpeech; // the error if that timer fires

  constructor(recognition, track) {
    Object.assign(this, { recognition, track });
  }

  stop(isDropped) {
    this.#isDropped ||= isDropped;
    this.#stopped.resolve(isDropped);
  }

  async run() {
    const open = () => (this.track ? AudioSource.openTrack(this.track) : AudioSource.openMicrophone());
    let error;
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
    if (this.recognition.interimResults) this.#emitInterim();
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

  // Adds a final result: one for every turn if the recognition is continuous, otherwise only one.
  #finishTurn() {
    if (!this.#canAddResult()) return;
    this.#onSpeech();
    this.#finals.push(this.#result("", true));
    this.#words = [];
    this.#emitResults(this.#finals.length - 1, this.#finals);
  }

  #emitInterim() {
    const hasText = this.#words.length > 0 || this.#partial !== "";
    const interim = hasText && this.#canAddResult() ? [this.#result(this.#partial, false)] : [];
    this.#emitResults(this.#finals.length, [...this.#finals, ...interim]);
  }

  #canAddResult() { return this.recognition.continuous || !this.#finals.length; }

  // A result of the words of the current turn, and the word in progress.
  #result(partial, isFinal) {
    const text = [...this.#words.map((word) => word.text), partial].join(" ").trimEnd();
    const transcript = this.#finals.length ? ` ${text}` : text; // so that authors can concatenate results
    const alternative = new SpeechRecognitionAlternative(transcript, [...this.#words]);
    return SpeechRecognitionResult.frozen([alternative], { isFinal });
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
    const cause = this.#noSpeech ?? reason;
    const error = cause.error ?? ERRORS[cause.fields?.cause ?? cause.name] ?? "service-not-allowed";
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
  // properties: to add to the list.
  static frozen(items, properties = {}) {
    return Object.freeze(Object.assign(this.from(items), properties));
  }

  item(index) { return this[index] ?? null; }
}

export class SpeechRecognitionAlternative {
  constructor(transcript, words) {
    Object.freeze(Object.assign(this, { transcript, words, confidence: 1 })); // the model provides no confidence
  }
}

export class SpeechRecognitionResult extends List {
  get speechStartTime() { return this[0].words[0]?.start; }
  get speechEndTime() { return this[0].words.at(-1)?.end; }
}

export class SpeechRecognitionResultList extends List {}

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

// error: a code of the standard.
const newError = (error, message) => Object.assign(new Error(message), { error });

const standard = [SpeechRecognition, SpeechRecognitionEvent, SpeechRecognitionErrorEvent,
  SpeechRecognitionAlternative, SpeechRecognitionResult, SpeechRecognitionResultList];
for (const item of standard) globalThis[item.name] = item;
globalThis.webkitSpeechRecognition = SpeechRecognition;
