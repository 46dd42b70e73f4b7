// What Python in a worker may not do itself, done for it on the page's own thread: the microphone, and decoding files.
// app/tympan/embed/page.py imports this module once for every worker, with the name of a channel in the address.
// In: { id, action, value }. Out: { id, value } or { id, error: { name, message } }; { samples }; { ended: true }.
import { Microphone } from "./microphone.js";
import { decode } from "./sound.js";

const channel = new BroadcastChannel(new URL(import.meta.url).searchParams.get("channel"));
let microphone;

const actions = {
  // An address, a Blob, or a file's bytes.
  decode: (source) => decode(ArrayBuffer.isView(source) ? new Blob([source]) : source),

  // Opens the microphone, which hears from now on. Gives its rate in Hz.
  async open() {
    microphone = await Microphone.open();
    return microphone.rateHz;
  },

  // Posts what it hears and has heard.
  listen() {
    microphone.start((samples) => channel.postMessage({ samples }));
    microphone.ended.then(() => channel.postMessage({ ended: true }));
  },

  // Gives it back. All samples have been posted when this is answered.
  async close() {
    await microphone?.stop();
    microphone = undefined;
  },
};

channel.addEventListener("message", async ({ data: { id, action, value } }) => {
  try {
    channel.postMessage({ id, value: await actions[action](value) });
  } catch ({ name, message }) {
    channel.postMessage({ id, error: { name, message } });
  }
});
