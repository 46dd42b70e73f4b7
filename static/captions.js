// <tympan-captions for="video-id"></tympan-captions>: captions for a video or audio element, as a text track of it.
//
//   <script type="module" src="https://example.org/tympan/captions.js"></script>
//
// A file is transcribed when it first plays, faster than it plays. A source that cannot be fetched, such as a live
// stream, is captioned while it plays. `srclang` and `label` are those of the track.
import { AudioSource } from "./bridge/audio_source.js";
import { decode } from "./bridge/decoder.js";
import { EngineClient } from "./bridge/engine_client.js";

const NO_FILE = ["BadAudio", "DownloadFailed"]; // errors of media that cannot be fetched as a file
const STREAM_ENDS = ["pause", "seeking", "ended", "emptied", "ratechange"];
const engine = EngineClient.of(new URL(import.meta.url).searchParams);

export class TympanCaptions extends HTMLElement {
  #media;
  #track;
  #removed; // an AbortController: the element was removed from the page
  #source; // address of the media that the cues belong to, "" for a stream
  #isInProgress = false; // the file is being transcribed, or has been; or the stream is being transcribed
  #isFile = true; // until fetching it fails

  connectedCallback() {
    this.#removed = new AbortController();
    const media = this.getRootNode().getElementById(this.getAttribute("for"));
    if (!media) throw new Error(`<tympan-captions>: there is no element “${this.getAttribute("for")}”.`);
    if (media !== this.#media) {
      const label = this.getAttribute("label") ?? "Tympan";
      this.#track = media.addTextTrack("captions", label, this.getAttribute("srclang") ?? "");
      this.#media = media;
    }
    this.#track.mode = "showing";
    this.#media.addEventListener("playing", () => this.#play(), { signal: this.#removed.signal });
    if (!this.#media.paused) this.#play();
  }

  disconnectedCallback() {
    this.#removed.abort();
    if (this.#track) this.#track.mode = "disabled";
  }

  // The TextTrack.
  get track() { return this.#track; }

  async #play() {
    if (this.#media.currentSrc !== this.#source) this.#reset(this.#media.currentSrc);
    if (this.#isInProgress) return;
    this.#isInProgress = true;
    const source = this.#source;
    try {
      await (this.#isFile ? this.#captionFile(source) : this.#captionLive());
    } catch (error) {
      if (source !== this.#source) return;
      this.#isInProgress = false;
      if (!this.#isFile || !NO_FILE.includes(error.name)) {
        return this.dispatchEvent(new ErrorEvent("error", { error, message: error.message }));
      }
      this.#isFile = false;
      await this.#play();
    }
  }

  #reset(source) {
    this.#source = source;
    this.#isFile = source !== "";
    this.#isInProgress = false;
    for (const cue of [...this.#track.cues]) this.#track.removeCue(cue);
  }

  async #captionFile(source) {
    const cues = new Cues(this.#track, 0);
    const onupdate = (update) => source === this.#source && cues.add(update);
    const { words } = await engine.transcribe(() => decode(source), { onupdate });
    if (source !== this.#source) return;
    cues.finish(words);
    this.dispatchEvent(new CustomEvent("captioned", { detail: { words } }));
  }

  // Captions a stream until the media pauses, seeks or ends. Times count from the position where this starts.
  async #captionLive() {
    const stream = (this.#media.captureStream ?? this.#media.mozCaptureStream).call(this.#media);
    const [track] = stream.getAudioTracks();
    const stopped = new Promise((resolve) => {
      for (const kind of STREAM_ENDS) this.#media.addEventListener(kind, () => resolve(), { once: true });
      this.#removed.signal.addEventListener("abort", () => resolve());
    });
    let cues;
    if (track) {
      await engine.listen(() => AudioSource.openTrack(track), stopped, {
        onopen: () => { cues = new Cues(this.#track, this.#media.currentTime); },
        onupdate: (update) => cues.add(update),
      });
    }
    this.#isInProgress = false;
  }
}

// Cues of a text track; updates of the engine mark the words that start one. offset: seconds to add to their times.
export class Cues {
  #cues = []; // { cue, nWords, text }: text without the partial word

  constructor(track, offset) {
    Object.assign(this, { track, offset });
  }

  // Adds the words of an update.
  add({ words, cue_starts, partial = "", seconds = 0 }) {
    words.forEach((word, i) => {
      if (cue_starts.includes(i)) this.#start(word);
      const newest = this.#cues.at(-1);
      newest.text += `${newest.nWords++ ? " " : ""}${word.text}`;
      show(newest, newest.text, word.end + this.offset);
    });
    const newest = this.#cues.at(-1);
    if (partial && newest) show(newest, `${newest.text} ${partial}`, seconds + this.offset);
  }

  // Sets the end times of the cues. words: all of the recording, with their final times.
  finish(words) {
    let nWords = 0;
    for (const { cue, ...shown } of this.#cues) {
      nWords += shown.nWords;
      cue.endTime = words[nWords - 1].end + this.offset;
      show({ cue }, shown.text, cue.endTime);
    }
  }

  #start({ start, end }) {
    const cue = new VTTCue(start + this.offset, end + this.offset, "");
    this.#cues.push({ cue, nWords: 0, text: "" });
    this.track.addCue(cue);
  }
}

function show({ cue }, text, end) {
  cue.endTime = Math.max(end, cue.endTime);
  cue.text = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

customElements.define("tympan-captions", TympanCaptions);
