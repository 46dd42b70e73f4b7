// Errors with the kinds, fields and sentences of app/tympan/errors.py.
import { DEVICE_REASONS, PAGE_ERRORS, REASONS } from "./protocol.js";

// An Error as the worker describes it. Its name is its kind.
export function toError({ kind, message, fields = {} }) {
  return Object.assign(new Error(message), { name: kind, fields });
}

// code: of REASONS, or the browser's own sentence. fields: of the error. shown: those that the reason shows otherwise.
export function failure(kind, code, fields = {}, shown = {}) {
  const reason = fill(REASONS[code] ?? code, { ...fields, ...shown }).replace(/\.$/, "");
  return toError({ kind, message: fill(PAGE_ERRORS[kind], { ...fields, reason }), fields: { ...fields, reason, code } });
}

// A DOMException of a device. fields.cause is its name.
export function deviceFailure(kind, { name, message }) {
  return failure(kind, DEVICE_REASONS[name] ?? message, { cause: name });
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
