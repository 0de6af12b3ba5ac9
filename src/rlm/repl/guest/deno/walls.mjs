// Layers inside JavaScript. None of them is the boundary, which is Deno's permissions and the limits of the process;
// they keep guest code away from what it has no use for.

const PAGE_BYTES = 65536;

// All that Pyodide needs once it runs, beside the language itself.
const NEEDED = ["WebAssembly", "TextDecoder", "TextEncoder", "crypto", "performance", "console"];
const LANGUAGE = [
  "Object", "Function", "Array", "Number", "parseFloat", "parseInt", "Infinity", "NaN", "undefined", "Boolean", "String",
  "Symbol", "Date", "Promise", "RegExp", "Error", "AggregateError", "EvalError", "RangeError", "ReferenceError",
  "SyntaxError", "TypeError", "URIError", "globalThis", "JSON", "Math", "Intl", "ArrayBuffer", "Atomics", "Uint8Array",
  "Int8Array", "Uint16Array", "Int16Array", "Uint32Array", "Int32Array", "Float32Array", "Float64Array", "Float16Array",
  "Uint8ClampedArray", "BigUint64Array", "BigInt64Array", "DataView", "Map", "BigInt", "Set", "WeakMap", "WeakSet",
  "WeakRef", "Proxy", "Reflect", "FinalizationRegistry", "Iterator", "SharedArrayBuffer", "isFinite", "isNaN",
];

// Take every other name away from the global object and from what it inherits from.
export function strip(root) {
  const kept = new Set([...LANGUAGE, ...NEEDED]);
  for (let holder = root; holder && holder !== Object.prototype; holder = Object.getPrototypeOf(holder)) {
    for (const name of Reflect.ownKeys(holder)) {
      if (typeof name === "string" && !kept.has(name)) Reflect.deleteProperty(holder, name);
    }
  }
  root.process = {}; // where Emscripten leaves an exit code
}

// What Pyodide says for developers would show guest code where it lies on this machine.
export function hush(console) {
  for (const name of Object.keys(console)) console[name] = () => {};
}

// From here no file can be opened, and Python's memory grows by at most so many bytes.
export function seal(deno, python, memoryBytes) {
  const state = deno.permissions.revokeSync({ name: "read" });
  if (state.state === "granted" || state.partial) throw new Error("the permission to read stays granted");
  limitMemory(python._module.HEAP8.length + memoryBytes);
}

function limitMemory(mostBytes) {
  const grow = WebAssembly.Memory.prototype.grow;
  const limited = function (pages) {
    if (this.buffer.byteLength + pages * PAGE_BYTES > mostBytes) throw new RangeError("beyond the memory of this REPL");
    return Reflect.apply(grow, this, [pages]);
  };
  Object.defineProperty(WebAssembly.Memory.prototype, "grow", { value: limited, writable: false, configurable: false });
}
