// PyScript without `eval`, which the page's Content-Security-Policy forbids. PyScript hands its hooks to a worker as
// source texts to be evaluated there. The only one it comes with offers `pyscript.fs`, which Tympan does not use.
import { hooks } from "./vendor/pyscript/core.js";

hooks.worker.onBeforeRunAsync.clear();
