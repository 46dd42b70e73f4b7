// <tympan-captions for="video-id"></tympan-captions>: captions for a video or audio element, as a text track of it.
//
//   <script type="module" src="https://example.org/tympan/captions.js"></script>
//
// A file is transcribed when it first plays, faster than it plays. A source that cannot be fetched, such as a live
// stream, is captioned while it plays. `srclang` and `label` are those of the track.
import { openTrack } from "./bridge/audio_source.js";
import { decode } from "./bridge/decoder.js";
import { EngineClient } from "./bridge/engine_client.js";

const NO_FILE = ["BadAudio", "DownloadFailed"]; // errors of media that cannot be fetched as a file
const LINGER_S = 2; // the newest cue of a stream is shown at least this long after its last change
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
    const show = cueWriter(this.#track);
    const onupdate = (update) => source === this.#source && show(update);
    const { words } = await engine.transcribe(() => decode(source), { onupdate });
    if (source === this.#source) this.dispatchEvent(new CustomEvent("captioned", { detail: { words } }));
  }

  // Captions a stream until the media pauses, seeks or ends.
  async #captionLive() {
    const stream = (this.#media.captureStream ?? this.#media.mozCaptureStream).call(this.#media);
    const [track] = stream.getAudioTracks();
    const stopped = new Promise((resolve) => {
      for (const kind of STREAM_ENDS) this.#media.addEventListener(kind, () => resolve(), { once: true });
      this.#removed.signal.addEventListener("abort", () => resolve());
    });
    const listener = { onopen: () => { listener.onupdate = cueWriter(this.#track, this.#media); } };
    if (track) await engine.listen(() => openTrack(track), stopped, listener);
    this.#isInProgress = false;
  }
}

// Returns a listener that shows the cues of updates in a track. stream: the media, if it is captioned while it plays:
// then times count from its position, and a cue is shown after it was spoken.
function cueWriter(track, stream = undefined) {
  const shown = [];
  const offset = stream?.currentTime ?? 0;
  return ({ cues }) => {
    for (const { index, start, end, text } of cues) {
      if (index === shown.length) track.addCue(shown[index] = new VTTCue(start + offset, end + offset, ""));
      Object.assign(shown[index], { text, endTime: end + offset });
    }
    if (stream && cues.length) shown.at(-1).endTime = Math.max(shown.at(-1).endTime, stream.currentTime + LINGER_S);
  };
}

customElements.define("tympan-captions", TympanCaptions);
