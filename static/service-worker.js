// Caches the whole site for offline visits. The build writes files.js, which lists every file with its SHA-256, so that
// an update fetches only changed files. Pages of the old version keep it until all are closed or reloaded.
importScripts("files.js"); // FILES: "sha256-" and the hash in base64 by address, relative to this script

const NAME = "tympan-site"; // one cache, with the hash in its keys
const scope = new URL("./", self.location);

function key(path) {
  return new Request(new URL(`${path}?${FILES[path]}`, scope));
}

async function install() {
  const cache = await caches.open(NAME);
  const paths = Object.keys(FILES);
  const fetchNext = async () => {
    for (let path; (path = paths.pop()); ) {
      if (await cache.match(key(path))) continue;
      // Fails if the file belongs to another version.
      await cache.put(key(path), await fetch(new URL(path, scope), { cache: "no-cache", integrity: FILES[path] }));
    }
  };
  await Promise.all([fetchNext(), fetchNext(), fetchNext()]); // few at once, to leave bandwidth to the page
}

async function removeOld() {
  const cache = await caches.open(NAME);
  const wanted = new Set(Object.keys(FILES).map((path) => key(path).url));
  for (const request of await cache.keys()) {
    if (!wanted.has(request.url)) await cache.delete(request);
  }
}

// Returns the path of a cached file, or undefined for requests that go to the network.
function pathOf(request) {
  const { url, method, headers } = request;
  if (method !== "GET" || !url.startsWith(scope.href) || headers.has("range")) return undefined;
  const path = new URL(url).pathname.slice(scope.pathname.length) || "index.html";
  return Object.hasOwn(FILES, path) ? path : undefined;
}

// Returns a new Response, whose URL is that of the request: modules read their options from the query of
// `import.meta.url`, and the cached Response has another query. WebAssembly has no query, and Chromium keeps compiled
// code only of a Response that is returned as it is cached.
async function answer(request, path) {
  const cached = await (await caches.open(NAME)).match(key(path));
  if (!cached) return fetch(request);
  if (path.endsWith(".wasm")) return cached;
  return new Response(cached.body, { status: cached.status, headers: cached.headers });
}

// Activates the new version if at most one page shows the old one. A page requests this when it opens or when its
// button is pressed; a reloaded page may be counted twice for a moment.
async function activate() {
  for (let i = 0; i < 10; i++) {
    const pages = await clients.matchAll({ includeUncontrolled: true }); // also of other sites of the same origin
    if (pages.filter(({ url }) => url.startsWith(scope.href)).length < 2) return self.skipWaiting();
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(removeOld()));
self.addEventListener("message", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const path = pathOf(event.request);
  if (path) event.respondWith(answer(event.request, path));
});
