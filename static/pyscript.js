// PyScript without `eval`, which the page's Content-Security-Policy forbids: it evaluates the source of this hook, which
// offers `pyscript.fs` in workers and is not used here.
import { hooks } from "./vendor/pyscript/core.js";

hooks.worker.onBeforeRunAsync.clear();
