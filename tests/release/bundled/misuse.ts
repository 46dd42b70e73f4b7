// Every statement is an error; the compiler reports a marked line that is none.
import { loadTympan, type SpeechRecognition } from "tympan";
import "tympan/embed.js";

declare const recognition: SpeechRecognition;
// @ts-expect-error a number is not a recording
tympan.transcribe(42);
// @ts-expect-error there is no such backend
loadTympan({ backend: "abacus" });
// @ts-expect-error the event has no field `words`
tympan.addEventListener("word", ({ detail }) => detail.words);
// @ts-expect-error the error is not a result
recognition.onerror = ({ results }) => results;
// @ts-expect-error a confidence is a number
recognition.onresult = ({ results }): string => results[0][0].words[0].confidence;
