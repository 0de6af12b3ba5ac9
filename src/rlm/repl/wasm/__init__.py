"""REPLs in WebAssembly: Pyodide under Deno."""
