// The Web Speech API (https://webaudio.github.io/web-speech-api/) with Tympan's additions. Importing the module also
// replaces the classes of `window`.
import type { Word } from "./tympan.js";

export type RecognizedWord = Word;

export type SpeechRecognitionErrorCode =
  | "aborted"
  | "audio-capture"
  | "language-not-supported"
  | "network"
  | "no-speech"
  | "not-allowed"
  | "service-not-allowed";

export interface SpeechRecognitionOptions {
  langs: string[];
  processLocally?: boolean;
}

/** A word or phrase that the speech may contain. */
export class SpeechRecognitionPhrase {
  /** boost: 0 to 10; 1 is the usual one. */
  constructor(phrase: string, boost?: number);
  readonly phrase: string;
  readonly boost: number;
}

export class SpeechRecognitionAlternative {
  private constructor();
  readonly transcript: string;
  /** Of the least certain word. Further alternatives differ in that word. */
  readonly confidence: number;
  /** In seconds since `audiostart`. */
  readonly words: readonly RecognizedWord[];
}

export class SpeechRecognitionResult extends Array<SpeechRecognitionAlternative> {
  private constructor();
  readonly isFinal: boolean;
  readonly speechStartTime: number | undefined;
  readonly speechEndTime: number | undefined;
  item(index: number): SpeechRecognitionAlternative | null;
}

export class SpeechRecognitionResultList extends Array<SpeechRecognitionResult> {
  private constructor();
  item(index: number): SpeechRecognitionResult | null;
}

export class SpeechRecognitionEvent extends Event {
  constructor(type: string, init: EventInit & { resultIndex?: number; results: SpeechRecognitionResultList });
  readonly resultIndex: number;
  readonly results: SpeechRecognitionResultList;
}

export class SpeechRecognitionErrorEvent extends Event {
  constructor(type: string, init: EventInit & { error: SpeechRecognitionErrorCode; message?: string });
  readonly error: SpeechRecognitionErrorCode;
  readonly message: string;
}

export interface SpeechRecognitionEventMap {
  start: Event;
  audiostart: Event;
  soundstart: Event;
  speechstart: Event;
  result: SpeechRecognitionEvent;
  nomatch: SpeechRecognitionEvent;
  speechend: Event;
  soundend: Event;
  audioend: Event;
  error: SpeechRecognitionErrorEvent;
  end: Event;
}

type Handlers = {
  [K in keyof SpeechRecognitionEventMap as `on${K}`]: ((event: SpeechRecognitionEventMap[K]) => unknown) | null;
};

export interface SpeechRecognition extends Handlers {}

export class SpeechRecognition extends EventTarget {
  lang: string;
  continuous: boolean;
  interimResults: boolean;
  maxAlternatives: number;
  processLocally: boolean;
  /** Removed from the standard; has no effect. */
  grammars: unknown;
  /** Words and phrases that the speech may contain, for the next `start`. */
  get phrases(): SpeechRecognitionPhrase[];
  set phrases(phrases: Iterable<SpeechRecognitionPhrase>);

  /** Throws InvalidStateError while a recognition runs, or if the track is not a live audio track. */
  start(audioTrack?: MediaStreamTrack): void;
  stop(): void;
  abort(): void;

  static available(
    options: SpeechRecognitionOptions,
  ): Promise<"unavailable" | "downloadable" | "downloading" | "available">;
  /** Loads the model. Resolves with whether that succeeded. */
  static install(options: SpeechRecognitionOptions): Promise<boolean>;

  addEventListener<K extends keyof SpeechRecognitionEventMap>(
    type: K,
    listener: (this: SpeechRecognition, event: SpeechRecognitionEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
