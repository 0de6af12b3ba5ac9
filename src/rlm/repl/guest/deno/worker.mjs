// The thread that runs Python: starts it from the snapshot, gives it descriptors that are the process's own, takes away
// what JavaScript could reach, and hands over to the guest half. What guest code may still find here can forge frames,
// which the host expects; it can open no file, no socket and no process, for Deno refuses.
import { load } from "./python.mjs";
import { hush, seal, strip } from "./walls.mjs";

const READY = 6; // one byte of output, before any guest code: the host waits for it
const { Deno, SharedArrayBuffer, Atomics } = globalThis;
const { stdin, stdout, stderr } = Deno;

const settings = await new Promise((resolve) => {
  self.onmessage = (event) => resolve(event.data);
});
self.onmessage = null;
const tell = self.postMessage.bind(self);
const words = new Int32Array(settings.shared);
const [interrupt, echoes] = [0, 1];
const ROUNDS = 3;
const ROUND_MS = 1000;

// Sleeps until the time is over or an interrupt has come; burns no CPU.
function pause(milliseconds) {
  Atomics.wait(words, interrupt, 0, milliseconds);
}

// Drops an interrupt that came when its cell was over. Some may still be on their way through the main thread's event
// loop: a few rounds through it, and they have arrived.
function forget(mayFollow) {
  for (let round = 0; mayFollow && round < ROUNDS; round++) {
    const seen = Atomics.load(words, echoes);
    tell("echo");
    Atomics.wait(words, echoes, seen, ROUND_MS);
  }
  Atomics.store(words, interrupt, 0);
}

async function start() {
  const _loadSnapshot = Deno.readFileSync(settings.snapshot);
  const python = await load(settings.pyodide, { _loadSnapshot });
  for (const wheel of settings.wheels) python.unpackArchive(Deno.readFileSync(wheel), "whl");
  python.runPython("import os; os.urandom(1)"); // the first time loads what is out of reach later
  python.setInterruptBuffer(new Uint8Array(settings.shared, 0, 4));
  python.setStdin({ read: (buffer) => stdin.readSync(buffer) ?? 0 });
  python.setStdout({ write: (buffer) => stdout.writeSync(buffer) });
  python.setStderr({ write: (buffer) => stderr.writeSync(buffer) });
  return python;
}

let isReady = false;
let code = 0;
try {
  hush(console);
  const python = await start();
  const { main } = python.pyimport("rlm.repl.guest.pyodide.main");
  const walls = () => seal(Deno, python, settings.memory_bytes);
  strip(globalThis);
  stderr.writeSync(Uint8Array.of(READY));
  isReady = true;
  main({ pause, forget, seal: walls });
} catch (error) {
  code = Number.isInteger(error?.status) ? error.status & 255 : 1;
  // Later, Python has said itself what there is to say.
  if (!isReady) stderr.writeSync(new TextEncoder().encode(`${error}`));
} finally {
  tell(code);
}
