// Files and addresses to samples: whatever the browser can decode, as mono at 24 kHz.
export const RATE_HZ = 24000;

// Decodes a Blob, a File or an address to a Float32Array in [-1, 1]. Rejects with a sentence for the screen.
export async function decode(blobOrUrl) {
  const blob = typeof blobOrUrl === "string" || blobOrUrl instanceof URL ? await download(blobOrUrl) : blobOrUrl;
  const encoded = await blob.arrayBuffer();
  let audio;
  try {
    audio = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(encoded);
  } catch {
    throw failure("BadAudio", "The browser finds no sound in the recording that it can decode.");
  }
  const context = new OfflineAudioContext(1, audio.length, RATE_HZ);
  const player = context.createBufferSource();
  player.buffer = audio;
  player.connect(context.destination); // mixes the channels
  player.start();
  return (await context.startRendering()).getChannelData(0);
}

async function download(url) {
  const failed = (reason) => failure("DownloadFailed", `Could not download ${url}: ${reason}.`);
  const response = await fetch(url).catch(() => {
    throw failed("there is no answer from that address");
  });
  if (!response.ok) throw failed(`the server answered ${response.status}`);
  return response.blob();
}

function failure(name, message) {
  return Object.assign(new Error(message), { name });
}
