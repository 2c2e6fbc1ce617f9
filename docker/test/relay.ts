/**
 * relay.ts SOCKET PORT: what connects to the Unix socket reaches PORT on this network's loopback. Run in the engine's network,
 * it lets the tests ask what is published there. Ends with its stdin.
 */
import { connect, createServer } from "node:net";

const [path, port] = process.argv.slice(2) as [string, string];
createServer((client) => {
  const server = connect(Number(port), "127.0.0.1");
  client.pipe(server).pipe(client);
  // A connection that breaks on one side is broken on the other.
  client.on("error", () => server.destroy());
  server.on("error", () => client.destroy());
}).listen(path, () => process.stdout.write("ready\n"));
process.stdin.resume().on("end", () => process.exit());
