// What the host says when it starts a process: one JSON object, the only argument. It names files and numbers.
export const settings = () => JSON.parse(Deno.args[0]);
