// PyScript without `eval`, which the page's Content-Security-Policy forbids. PyScript would evaluate the source of this
// hook, which offers `pyscript.fs` in workers and is not used here.
import "./storage_stub.js";
import { hooks } from "./vendor/pyscript/core.js";

hooks.worker.onBeforeRunAsync.clear();
