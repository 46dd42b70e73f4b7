/** A word of a transcript; times in seconds. */
export interface Word {
  text: string;
  start: number;
  end: number;
  /** The probability that the text is right, 0 to 1. */
  confidence: number;
  /** Other texts that it may be, most likely first. */
  alternatives: { text: string; confidence: number }[];
}

/**
 * Mean milliseconds per 80 ms frame of each stage, and elapsed seconds. Where both stages run on one GPU, `lm_ms`
 * includes Mimi's work there.
 */
export interface Timing {
  mimi_ms: number;
  lm_ms: number;
  elapsed_s: number;
  real_time_factor: number;
}

export interface Transcript {
  text: string;
  words: Word[];
  /** Duration of the audio. */
  seconds: number;
  /** Number of 80 ms frames. */
  frames: number;
  timing: Timing;
  /** The times at which the context was reset, because the model repeated itself. */
  stuck: number[];
}

export interface RecordingOptions {
  /** Names and terms that may be spoken, at most 1,000: lines, or objects. A line may end in a colon and a weight. */
  terms?: string | (string | { text: string; weight?: number })[];
  /** Seconds of silence that end a turn, 0.4 to 5. */
  silenceS?: number;
}

export type Backend = "webgpu" | "simd" | "numpy";
export type MimiBackend = "webgpu" | "cpu";

/** The reason for a backend. `message` is a sentence for the screen. */
export interface Reason {
  kind: string;
  message: string;
  fields: Record<string, unknown>;
}

/** A loaded model. */
export interface ModelInfo {
  title: string;
  languages: string[];
  licence: string;
  source: string;
  notes: string;
  bytes: number;
  host: string;
  /** Level of the encoder's kernels. */
  simd: "relaxed" | "simd" | "numpy";
  backend: Backend;
  /** The device, as a phrase for the screen. */
  runs_on: string;
  why: Reason;
  /** Where the Mimi encoder runs. */
  mimi: MimiBackend;
  mimi_why: Reason;
}

/** Every promise of Tympan rejects with such an error. `name` is a class of errors.py, `message` a sentence. */
export interface TympanError extends Error {
  fields: Record<string, unknown>;
  /** The words before the error, if it ended `listen`. */
  transcript?: Transcript;
}

export type Turn = "speech" | "pause" | "end" | "mute" | "stuck";

export interface TympanEventMap {
  word: CustomEvent<Word>;
  /** The word being spoken, and the position of the transcript. */
  partial: CustomEvent<{ text: string; seconds: number }>;
  turn: CustomEvent<{ turn: Turn; seconds: number }>;
  /** The GPU was lost, and the transformer or Mimi continues elsewhere. */
  backend: CustomEvent<Pick<ModelInfo, "backend" | "runs_on" | "why" | "mimi" | "mimi_why">>;
}

export interface Tympan extends EventTarget {
  /** Resolves when the model is loaded. */
  readonly ready: Promise<ModelInfo>;
  /** Transcribes a recording. Recordings run one after another. */
  transcribe(blobOrUrl: Blob | string | URL, options?: RecordingOptions): Promise<Transcript>;
  /** Transcribes the microphone until `stop`. */
  listen(options?: RecordingOptions): Promise<Transcript>;
  /** Ends `listen`, which resolves after the remaining words. */
  stop(): void;

  addEventListener<K extends keyof TympanEventMap>(
    type: K,
    listener: (this: Tympan, event: TympanEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof TympanEventMap>(
    type: K,
    listener: (this: Tympan, event: TympanEventMap[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

declare global {
  /** Defined by `embed.js` and on Tympan's own page. */
  var tympan: Tympan;
}
