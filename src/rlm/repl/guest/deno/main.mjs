// The main thread of a WASM sandbox: starts the worker that runs Python, and stays free to pass interrupts on while
// Python computes. It never touches frames or output, and believes nothing that the worker says.
import { settings } from "./settings.mjs";

const SIGINT = 2;
const shared = new SharedArrayBuffer(8);
const [interrupt, echoes] = [0, 1]; // what the two words are for
const words = new Int32Array(shared);

Deno.addSignalListener("SIGINT", () => {
  Atomics.store(words, interrupt, SIGINT);
  Atomics.notify(words, interrupt); // Python may be asleep
});

const worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
worker.onmessage = ({ data }) => {
  if (data !== "echo") Deno.exit(Number.isInteger(data) ? data : 1);
  Atomics.add(words, echoes, 1);
  Atomics.notify(words, echoes);
};
worker.onerror = (event) => {
  event.preventDefault();
  Deno.stderr.writeSync(new TextEncoder().encode(event.message));
  Deno.exit(1);
};
worker.postMessage({ ...settings(), shared });
