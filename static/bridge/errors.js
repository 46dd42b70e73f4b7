// Errors with the kinds, fields and sentences of app/tympan/errors.py.
import { DEVICE_REASONS, PAGE_ERRORS, REASONS } from "./protocol.js";

// Creates an Error from the worker's description. Its name is the kind.
export function toError({ kind, message, fields = {} }) {
  return Object.assign(new Error(message), { name: kind, fields });
}

// Creates an error of PAGE_ERRORS. code: of REASONS, or the browser's message. fields: of the error. shown: formatted
// values that replace fields in the reason.
export function failure(kind, code, fields = {}, shown = {}) {
  const reason = fill(REASONS[code] ?? code, { ...fields, ...shown }).replace(/\.$/, "");
  return toError({ kind, message: fill(PAGE_ERRORS[kind], { ...fields, reason }), fields: { ...fields, reason, code } });
}

// Creates an error from the DOMException of a device. fields.cause is the exception's name.
export function deviceFailure(kind, { name, message }) {
  return failure(kind, DEVICE_REASONS[name] ?? message, { cause: name });
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
