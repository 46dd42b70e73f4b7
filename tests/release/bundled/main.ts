// A page that uses the npm package through a bundler. `?site=` names the folder of the package's files.
import { loadCaptions, loadSpeechRecognition, loadTympan, type TympanError, type Word } from "tympan";

interface Result {
  title: string;
  text: string;
  words: Word[];
  available: string;
  track: string;
  refused: string;
}

async function run(): Promise<Result> {
  const options = { site: new URL(new URLSearchParams(location.search).get("site")!), backend: "simd" } as const;
  const tympan = await loadTympan(options);
  const words: Word[] = [];
  tympan.addEventListener("word", ({ detail }) => words.push(detail));
  const { title } = await tympan.ready;
  const { text } = await tympan.transcribe("speech.wav");
  const refused = await tympan.transcribe("nothing.wav").then(
    () => "",
    (error: TympanError) => error.name,
  );

  const SpeechRecognition = await loadSpeechRecognition(options);
  const recognition = new SpeechRecognition();
  recognition.onresult = ({ results }) => console.log(results[0]?.[0]?.words[0]?.text);
  const available = await SpeechRecognition.available({ langs: ["en-US"] });

  await loadCaptions(options);
  const captions = document.querySelector("tympan-captions")!;
  captions.addEventListener("captioned", ({ detail }) => console.log(detail.words.length));
  return { title, text, words, available, track: captions.track!.label, refused };
}

Object.assign(window, { result: run() });
