// Tries every way out of a Deno process that this file knows, with nothing taken away from it, and says what came of
// each on stderr: a line `name: refused` or `name: GOT OUT`. The arguments: a canary file, a port, a folder.
const { canary, port, folder } = JSON.parse(Deno.args[0]);
const url = `http://127.0.0.1:${port}/`;
const module = (source) => `data:text/javascript,${encodeURIComponent(source)}`;

function opens(target) {
  return new Promise((resolve, reject) => {
    target.onopen = resolve;
    target.onerror = () => reject(new Error("refused"));
  });
}

// A worker gets out if it says anything at all.
function worker(source) {
  return new Promise((resolve, reject) => {
    const started = new Worker(module(source), { type: "module" });
    started.onmessage = resolve;
    started.onerror = (event) => {
      event.preventDefault();
      reject(new Error("refused"));
    };
  });
}

const attempts = {
  readFile: () => Deno.readTextFile(canary),
  readHostFile: () => Deno.readTextFile("/etc/passwd"),
  readProc: () => Deno.readTextFile("/proc/self/environ"),
  readThroughFd: () => Deno.open("/proc/self/fd/1"),
  list: () => Deno.readDir(folder)[Symbol.asyncIterator]().next(),
  stat: () => Deno.stat(canary),
  writeFile: () => Deno.writeTextFile(`${folder}/new`, "x"),
  link: () => Deno.symlink(canary, `${folder}/link`),
  makeTemp: () => Deno.makeTempFile(),
  environment: () => Deno.env.toObject(),
  nodeEnvironment: () => process.env.HOME ?? Promise.reject(new Error("empty")),
  run: () => new Deno.Command("/bin/true").output(),
  signal: () => Deno.kill(1, "SIGCONT"),
  system: () => Deno.hostname(),
  ffi: () => Deno.dlopen("libc.so.6", {}),
  fetch: () => fetch(url),
  fetchFile: () => fetch(`file://${canary}`).then((reply) => reply.text()),
  connect: () => Deno.connect({ hostname: "127.0.0.1", port }),
  listen: () => Deno.listen({ port: 0 }),
  unixSocket: () => Deno.connect({ transport: "unix", path: "/var/run/docker.sock" }),
  resolve: () => Deno.resolveDns("localhost", "A"),
  webSocket: () => opens(new WebSocket(url.replace("http", "ws"))),
  eventSource: () => opens(new EventSource(url)),
  importRemote: () => import(`${url}module.js`),
  importNpm: () => import("npm:left-pad@1.3.0"),
  importJsr: () => import("jsr:@std/assert@1.0.0"),
  importFile: () => import(`file://${canary}`),
  importJson: () => import(`file://${canary}`, { with: { type: "json" } }),
  importNested: () => import(module(`export * from "file://${canary}"`)),
  workerFile: () => worker(`import "file://${canary}"; postMessage(1)`),
  workerReads: () => worker(`postMessage(Deno.readTextFileSync("${canary}"))`),
  workerFetches: () => worker(`postMessage(await (await fetch("${url}")).text())`),
  workerAsks: () =>
    worker(`if ((await Deno.permissions.request({name: "net"})).state === "granted") postMessage(1); else throw 1`),
  ask: () => (Deno.permissions.requestSync({ name: "read" }).state === "granted" ? 1 : Promise.reject(new Error("no"))),
  evaluate: () => eval("1"),
  makeFunction: () => new Function("return 1")(),
  storage: () => localStorage.setItem("a", "b"),
  caches: () => caches.open("a"),
  keyValue: () => Deno.openKv(`${folder}/kv`),
  nodeFs: async () => (await import("node:fs")).readFileSync(canary),
  nodeWrite: async () => (await import("node:fs")).writeFileSync(`${folder}/new`, "x"),
  nodeRun: async () => (await import("node:child_process")).execFileSync("/bin/true"),
  nodeDatabase: async () => new (await import("node:sqlite")).DatabaseSync(`${folder}/db`),
  nodeNet: async () => {
    const socket = (await import("node:net")).connect(port, "127.0.0.1");
    await new Promise((resolve, reject) => socket.on("connect", resolve).on("error", reject));
  },
  nodeInspector: async () => (await import("node:inspector")).open(0, "127.0.0.1"),
  remove: () => Deno.remove(canary),
};

const say = (line) => Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
for (const [name, attempt] of Object.entries(attempts)) {
  try {
    await attempt();
    say(`${name}: GOT OUT`);
  } catch {
    say(`${name}: refused`);
  }
}
Deno.exit(0);
