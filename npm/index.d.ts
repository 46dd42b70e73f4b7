import type { TympanCaptions } from "./captions.js";
import type { SpeechRecognition } from "./speech-recognition.js";
import type { Tympan } from "./tympan.js";

export type { TympanCaptions, CaptionedEvent } from "./captions.js";
export type {
  RecognizedWord,
  SpeechRecognition,
  SpeechRecognitionAlternative,
  SpeechRecognitionErrorCode,
  SpeechRecognitionErrorEvent,
  SpeechRecognitionEvent,
  SpeechRecognitionResult,
  SpeechRecognitionResultList,
} from "./speech-recognition.js";
export type { Backend, MimiBackend, ModelInfo, Timing, Transcript, Turn, Tympan, TympanError, TympanEventMap, Word } from "./tympan.js";

export interface LoadOptions {
  /** Address of the folder with the files of this package, or of a Tympan site. Bundled pages must name it. */
  site?: string | URL;
  /** An id of the site's catalogue, or the address of a model directory. Default: the first model of the catalogue. */
  model?: string;
  /** Implementation of the transformer. Default: "auto". */
  backend?: "auto" | "webgpu" | "simd" | "numpy";
  /** Where the Mimi encoder runs. Default: "auto". */
  mimi?: "auto" | "webgpu" | "cpu";
}

/** Loads the model and resolves with `window.tympan`; its `ready` resolves when the model is loaded. */
export function loadTympan(options?: LoadOptions): Promise<Tympan>;

/** Resolves with the class, which then also replaces `window.SpeechRecognition`. */
export function loadSpeechRecognition(options?: LoadOptions): Promise<typeof SpeechRecognition>;

/** Defines the element `<tympan-captions>` and resolves with its class. */
export function loadCaptions(options?: LoadOptions): Promise<typeof TympanCaptions>;
