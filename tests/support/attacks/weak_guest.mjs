// Python in Deno as it is where nobody expects an attack: every permission, and JavaScript at hand. A line of JSON in
// for each cell, one out. It exists for the corpus of attacks to succeed against.
const [folder] = Deno.args;
const { loadPyodide } = await import(`file://${folder}/pyodide.mjs`);
let output = "";
const print = (text) => { output += text + "\n"; };
const python = await loadPyodide({ indexURL: `${folder}/`, stdout: print, stderr: print });
python.runPython("def echo(value): return value\ndef FINAL(value): given.append(value)");
const write = (reply) => Deno.stdout.write(new TextEncoder().encode(JSON.stringify(reply) + "\n"));
await write({});
const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
let rest = "";
for await (const piece of lines) {
  rest += piece;
  if (!rest.endsWith("\n")) continue;
  const code = JSON.parse(rest).code;
  [rest, output] = ["", ""];
  let error = null;
  python.runPython("given = []");
  try {
    await python.runPythonAsync(code);
  } catch (raised) {
    error = String(raised);
  }
  await write({ output, error, final: JSON.parse(python.runPython("import json; json.dumps(given[:1])")) });
}
