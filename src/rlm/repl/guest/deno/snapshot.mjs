// Makes a memory snapshot: Pyodide with the guest half and the usual library imported. The guest half comes over
// stdin as a zip, the snapshot goes to stdout.
import { load } from "./python.mjs";
import { settings } from "./settings.mjs";

const GUEST = "/tmp/guest.zip";
const PREPARE = `
import sys
sys.path.insert(0, "${GUEST}")
import rlm.repl.guest.pyodide.main
rlm.repl.guest.pyodide.main.prepare()
sys.path.remove("${GUEST}")
sys.path_importer_cache.clear()
`;

const python = await load(settings().pyodide, { _makeSnapshot: true });
python.FS.writeFile(GUEST, new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer()));
python.runPython(PREPARE);
let rest = python.makeMemorySnapshot();
while (rest.length) rest = rest.subarray(Deno.stdout.writeSync(rest));
