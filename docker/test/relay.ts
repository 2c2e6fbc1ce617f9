/**
 * relay.ts SOCKET PORT: forwards connections from a Unix socket to PORT on loopback. Run in the engine's network namespace, it
 * lets the tests reach published ports. Ends when its stdin closes.
 */
import { connect, createServer } from "node:net";

const [path, port] = process.argv.slice(2) as [string, string];
createServer((client) => {
  const server = connect(Number(port), "127.0.0.1");
  client.pipe(server).pipe(client);
  // A connection that fails on one side fails on the other.
  client.on("error", () => server.destroy());
  server.on("error", () => client.destroy());
}).listen(path, () => process.stdout.write("ready\n"));
process.stdin.resume().on("end", () => process.exit());
