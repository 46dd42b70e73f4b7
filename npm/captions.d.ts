import type { Word } from "./tympan.js";

export type CaptionedEvent = CustomEvent<{ words: Word[] }>;

/**
 * `<tympan-captions for="ID" srclang="en" label="English">`: captions for the video or audio element with that id.
 *
 * Events: `captioned` when a file is complete, and `error`.
 */
export class TympanCaptions extends HTMLElement {
  /** The text track; undefined while the element is not in a document. */
  get track(): TextTrack | undefined;

  addEventListener(type: "captioned", listener: (event: CaptionedEvent) => unknown, options?: AddEventListenerOptions): void;
  addEventListener(type: "error", listener: (event: ErrorEvent) => unknown, options?: AddEventListenerOptions): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "tympan-captions": TympanCaptions;
  }
}
