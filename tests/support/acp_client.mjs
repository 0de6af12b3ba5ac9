// A client made with the library that editors use. Arguments: the file of the library, the workspace, and the agent's
// command. Asks once, allows every edit, and prints what came as JSON.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [library, cwd, command, ...args] = process.argv.slice(2);
const acp = await import(pathToFileURL(library).href);
const agent = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], cwd });
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
const updates = [];
const asked = [];
const app = acp
  .client({ name: "tests" })
  .onRequest(acp.methods.client.session.requestPermission, ({ params }) => {
    asked.push(params.toolCall.title);
    return { outcome: { outcome: "selected", optionId: params.options[0].optionId } };
  })
  .onNotification(acp.methods.client.session.update, ({ params }) => {
    updates.push(params.update);
  });
const stopReason = await app.connectWith(stream, async (context) => {
  await context.request(acp.methods.agent.initialize, { protocolVersion: acp.PROTOCOL_VERSION, clientCapabilities: {} });
  const { sessionId } = await context.request(acp.methods.agent.session.new, { cwd, mcpServers: [] });
  const prompt = [{ type: "text", text: "change it" }];
  const done = await context.request(acp.methods.agent.session.prompt, { sessionId, prompt });
  await context.request(acp.methods.agent.session.close, { sessionId });
  return done.stopReason;
});
agent.stdin.end();
console.log(JSON.stringify({ stopReason, asked, updates }));
