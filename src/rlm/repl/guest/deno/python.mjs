// Loads Pyodide from its folder. Nothing is fetched: the process may not, and the folder holds all there is.
import { pathToFileURL } from "node:url";

// Sets come in the same order each time, so that a cell which is run again prints the same.
const env = { HOME: "/home/rlm", PYTHONHASHSEED: "0" };

export async function load(folder, options = {}) {
  const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
  return await loadPyodide({ indexURL: `${folder}/`, env, ...options });
}
