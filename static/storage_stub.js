// Firefox with all cookies blocked throws from `new BroadcastChannel`, which PyScript calls while it loads. With this
// stub, the page starts and can report that storage is refused. PyScript uses the channel to reach other tabs only.
try {
  new BroadcastChannel("tympan").close();
} catch {
  globalThis.BroadcastChannel = class extends EventTarget {
    postMessage() {}
    close() {}
  };
}
