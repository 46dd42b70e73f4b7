// Loads Tympan's scripts from a folder at run time. The folder stays outside of a bundle, because the engine's worker
// loads Pyodide, the library and the model from it.
//
// options: { site, model, backend, mimi }. site: the address of the folder, by default that of this file. Bundlers move
// this file, so bundled pages name the folder.
const HERE = import.meta.url.replace(/[^/]*$/, "");

// Resolves with a Tympan, which is also `window.tympan`. It loads the model.
export async function loadTympan(options) {
  await load("embed.js", options);
  return window.tympan;
}

// Resolves with the class SpeechRecognition, which is then also that of `window`.
export const loadSpeechRecognition = async (options) => (await load("speech-recognition.js", options)).SpeechRecognition;

// Defines the element <tympan-captions>. Resolves with its class.
export const loadCaptions = async (options) => (await load("captions.js", options)).TympanCaptions;

function load(script, { site = HERE, model = "", ...backends } = {}) {
  const url = new URL(script, new URL(`${site}`.replace(/\/?$/, "/"), location.href));
  if (model) url.searchParams.set("model", model);
  for (const [name, value] of Object.entries(backends)) if (value) url.searchParams.set(name, value);
  return import(/* @vite-ignore */ /* webpackIgnore: true */ url.href);
}
