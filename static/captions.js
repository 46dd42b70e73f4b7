// <tympan-captions for="video-id"></tympan-captions>: captions of what a video or a sound says, as a text track of it.
//
//   <script type="module" src="https://example.org/tympan/captions.js"></script>
//
// A file is transcribed as soon as it plays, faster than it plays, so that one may jump about in it. What cannot be
// fetched, as a live stream, is captioned while it plays. `srclang` and `label` are those of the track.
import { Engine } from "./embed/engine.js";

const LONGEST_LINE = 42; // characters
const LONGEST_CUE_S = 6;
const PAUSE_S = 0.8; // a pause this long ends a cue
const UNREADABLE = ["BadAudio", "DownloadFailed"]; // failures of what is no file that anyone may fetch

const engine = Engine.of(new URL(import.meta.url).searchParams);

export class TympanCaptions extends HTMLElement {
  #media;
  #track;
  #left = new AbortController(); // the element was taken out of the page
  #source; // the address of what the cues are of, "" for a stream
  #isUnderWay = false; // the file of that address is done or being done, or the stream is being listened to
  #isFile = true; // as far as is known

  connectedCallback() {
    this.#left = new AbortController();
    const media = this.getRootNode().getElementById(this.getAttribute("for"));
    if (!media) throw new Error(`<tympan-captions>: there is no element “${this.getAttribute("for")}”.`);
    if (media !== this.#media) {
      const label = this.getAttribute("label") ?? "Tympan";
      this.#track = media.addTextTrack("captions", label, this.getAttribute("srclang") ?? "");
      this.#media = media;
    }
    this.#track.mode = "showing";
    this.#media.addEventListener("playing", () => this.#play(), { signal: this.#left.signal });
    if (!this.#media.paused) this.#play();
  }

  disconnectedCallback() {
    this.#left.abort();
    if (this.#track) this.#track.mode = "disabled";
  }

  // The text track, to be styled or exported.
  get track() {
    return this.#track;
  }

  async #play() {
    if (this.#media.currentSrc !== this.#source) this.#begin(this.#media.currentSrc);
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    const source = this.#source;
    try {
      await (this.#isFile ? this.#captionFile(source) : this.#captionLive());
    } catch (failure) {
      if (source !== this.#source) return;
      this.#isUnderWay = false;
      if (!this.#isFile || !UNREADABLE.includes(failure.name)) return this.#fail(failure);
      this.#isFile = false;
      await this.#play();
    }
  }

  #begin(source) {
    this.#source = source;
    this.#isFile = source !== "";
    this.#isUnderWay = false;
    this.#clear();
  }

  async #captionFile(source) {
    const cues = new Cues(this.#track, 0);
    const onheard = ({ words }) => source === this.#source && cues.add(words);
    const { words } = await engine.transcribe(source, { onheard });
    if (source !== this.#source) return;
    this.#clear();
    new Cues(this.#track, 0).add(words); // their ends are known only now
    this.dispatchEvent(new CustomEvent("captioned", { detail: { words } }));
  }

  // Until the media pauses, jumps or ends: times count from where it plays when it is first heard.
  async #captionLive() {
    const stream = (this.#media.captureStream ?? this.#media.mozCaptureStream).call(this.#media);
    const [track] = stream.getAudioTracks();
    if (track) await this.#listen(track);
    this.#isUnderWay = false;
  }

  async #listen(track) {
    const over = new Promise((resolve) => {
      for (const kind of ["pause", "seeking", "ended", "emptied", "ratechange"]) {
        this.#media.addEventListener(kind, () => resolve(), { once: true });
      }
      this.#left.signal.addEventListener("abort", () => resolve());
    });
    let cues;
    await engine.listen(over, {
      onopen: () => { cues = new Cues(this.#track, this.#media.currentTime); },
      onheard: ({ words, partial, seconds }) => cues.add(words, partial, seconds),
    }, track);
  }

  #clear() {
    for (const cue of [...this.#track.cues]) this.#track.removeCue(cue);
  }

  #fail(failure) {
    this.dispatchEvent(new ErrorEvent("error", { error: failure, message: failure.message }));
  }
}

// Words put together into cues that can be read, the newest growing as words come. A cue begins where
// app/tympan/text/cues.py says, too; tests/page/test_captions.py holds the two together.
export class Cues {
  #track;
  #offset; // of the words' times, in the media's
  #words = []; // of the newest cue
  #cue;

  constructor(track, offset) {
    this.#track = track;
    this.#offset = offset;
  }

  // partial: the word that is being said at `seconds`.
  add(words, partial = "", seconds = 0) {
    for (const word of words) {
      if (this.#isFull(word)) this.#begin(word);
      this.#words.push(word);
      this.#show(text(this.#words), word.end);
    }
    if (partial && this.#cue) this.#show(`${text(this.#words)} ${partial}`, seconds);
  }

  #isFull(word) {
    if (!this.#cue) return true;
    const isLong = [...text([...this.#words, word])].length > LONGEST_LINE;
    return isLong || word.end - this.#words[0].start > LONGEST_CUE_S || word.start - this.#words.at(-1).end > PAUSE_S;
  }

  #begin({ start, end }) {
    this.#words = [];
    this.#cue = new VTTCue(start + this.#offset, end + this.#offset, "");
    this.#track.addCue(this.#cue);
  }

  #show(line, end) {
    this.#cue.endTime = Math.max(end + this.#offset, this.#cue.endTime);
    this.#cue.text = line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  }
}

function text(words) {
  return words.map((word) => word.text).join(" ");
}

customElements.define("tympan-captions", TympanCaptions);
