// Decodes audio and video files to mono samples at 24 kHz, and rejects those that cannot be transcribed.
import { failure } from "./errors.js";
import { SAMPLE_RATE_HZ, SHORTEST_AUDIO_S } from "./protocol.js";

// Decodes a Blob, a File, a file's bytes or an address to a Float32Array in [-1, 1]. Channels are mixed and rates
// converted by the browser's band-limited filters. name: for the message of BadAudio. Throws BadAudio, DownloadFailed.
export async function decode(source, name = nameOf(source)) {
  const blob = await read(source);
  const bad = (code, fields, shown) => failure("BadAudio", code, { name, ...fields }, shown);
  if (!blob.size) throw bad("empty");
  const encoded = await blob.arrayBuffer().catch(({ message }) => {
    throw bad("unreadable", { detail: message });
  });
  const audio = await new OfflineAudioContext(1, 1, SAMPLE_RATE_HZ).decodeAudioData(encoded).catch(() => {
    throw bad("no_sound");
  });
  if (audio.duration < SHORTEST_AUDIO_S) {
    throw bad("too_short", { seconds: audio.duration }, { seconds: `${audio.duration.toFixed(2)} s` });
  }
  const context = new OfflineAudioContext(1, audio.length, SAMPLE_RATE_HZ);
  const player = new AudioBufferSourceNode(context, { buffer: audio });
  player.connect(context.destination);
  player.start();
  return (await context.startRendering()).getChannelData(0);
}

// Returns the Blob of a source. Throws DownloadFailed.
export async function read(source) {
  if (source instanceof Blob) return source;
  if (ArrayBuffer.isView(source) || source instanceof ArrayBuffer) return new Blob([source]);
  const url = `${source}`;
  const response = await fetch(url).catch(() => {
    throw failure("DownloadFailed", "no_answer", { url });
  });
  if (!response.ok) throw failure("DownloadFailed", "bad_answer", { url, status: response.status });
  return response.blob();
}

function nameOf(source) {
  if (typeof source !== "string" && !(source instanceof URL)) return source.name || "Recording";
  const { pathname } = new URL(source, location.href);
  return decodeURIComponent(pathname.replace(/\/+$/, "").split("/").at(-1)) || `${source}`;
}
