// Opens the microphone and decodes files for Python in a worker, because only the page thread can.
// app/tympan/embed/page_bridge.py imports this module once per worker, with the name of a channel in the address.
// In: { id, action, value }. Out: { id, value } or { id, error: { kind, message, fields } }; { samples }; { ended }.
import { AudioSource } from "./audio_source.js";
import { decode } from "./decoder.js";

const channel = new BroadcastChannel(new URL(import.meta.url).searchParams.get("channel"));
let source;

const actions = {
  decode: (source) => decode(source),

  // Opens the microphone and starts to capture. Returns its rate in Hz.
  async open() {
    source = await AudioSource.openMicrophone();
    return source.rateHz;
  },

  // Posts all samples since `open`.
  listen() {
    source.start((samples) => channel.postMessage({ samples }));
    source.ended.then(() => channel.postMessage({ ended: true }));
  },

  // Closes the microphone after all samples have been posted.
  async close() {
    await source?.stop();
    source = undefined;
  },
};

channel.addEventListener("message", async ({ data: { id, action, value } }) => {
  try {
    channel.postMessage({ id, value: await actions[action](value) });
  } catch ({ name: kind, message, fields }) {
    channel.postMessage({ id, error: { kind, message, fields } });
  }
});
