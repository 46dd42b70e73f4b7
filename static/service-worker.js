// Keeps the whole site for visits without a network. files.js, which the build writes, names every file with its sha256,
// so a new version is a new files.js, and fetches no more than what has changed.
//
// A version is whole or not there: pages of the old one keep it until the last of them is closed or reloaded.
importScripts("files.js"); // FILES: sha256 by address, relative to this script

const NAME = "tympan-site"; // one cache, whose keys carry the hash
const scope = new URL("./", self.location);

function key(path) {
  return new Request(new URL(`${path}?sha256=${FILES[path]}`, scope));
}

async function install() {
  const cache = await caches.open(NAME);
  const paths = Object.keys(FILES);
  const fetchNext = async () => {
    for (let path; (path = paths.pop()); ) {
      if (await cache.match(key(path))) continue;
      const response = await fetch(new URL(path, scope), { cache: "no-cache" });
      const bytes = await response.clone().arrayBuffer();
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
      if (!response.ok || hex !== FILES[path]) throw new Error(`${path} is of another version`);
      await cache.put(key(path), response);
    }
  };
  await Promise.all([fetchNext(), fetchNext(), fetchNext()]); // few at once: the page comes first
}

async function removeOld() {
  const cache = await caches.open(NAME);
  const wanted = new Set(Object.keys(FILES).map((path) => key(path).url));
  for (const request of await cache.keys()) {
    if (!wanted.has(request.url)) await cache.delete(request);
  }
}

// The address of a file of this site, or undefined for what goes to the network as if there were no worker.
function pathOf(request) {
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== scope.origin || request.headers.has("range")) return undefined;
  if (!url.pathname.startsWith(scope.pathname)) return undefined;
  const path = url.pathname.slice(scope.pathname.length) || "index.html";
  return Object.hasOwn(FILES, path) ? path : undefined;
}

// The kept response is answered under the address that was asked for. Its own address has lost the query, and a module
// reads its options from `import.meta.url`, which is the response's address where it has one.
async function answer(request, path) {
  const kept = await (await caches.open(NAME)).match(key(path));
  return kept ? new Response(kept.body, { status: kept.status, headers: kept.headers }) : fetch(request);
}

// A page that has just been opened, or whose button was pressed, asks for the new version. It gets it if no other one
// shows the old version; one that was reloaded may be there twice for a moment.
async function takeOver() {
  for (let i = 0; i < 10; i++) {
    const pages = await clients.matchAll({ includeUncontrolled: true }); // also of other sites of the same origin
    if (pages.filter(({ url }) => url.startsWith(scope.href)).length < 2) return self.skipWaiting();
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(removeOld()));
self.addEventListener("message", (event) => event.waitUntil(takeOver()));
self.addEventListener("fetch", (event) => {
  const path = pathOf(event.request);
  if (path) event.respondWith(answer(event.request, path));
});
