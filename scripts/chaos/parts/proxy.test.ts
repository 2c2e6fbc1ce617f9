import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Proxy } from "./proxy.ts";

let server: Server;
let proxy: Proxy;
let received: string;
let far: Promise<Socket>;

beforeEach(async () => {
  received = "";
  const accepted = Promise.withResolvers<Socket>();
  far = accepted.promise;
  server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      received += chunk.toString();
      socket.write(chunk);
    });
    accepted.resolve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.address() as { port: number };
  proxy = await Proxy.open(() => port);
});
afterEach(() => {
  proxy.close();
  server.close();
});

/** A connection through the proxy. `echo` resolves when the text it sends has come back. */
function client(): { readonly socket: Socket; readonly echo: (text: string) => Promise<void> } {
  const socket = connect(proxy.port, "127.0.0.1");
  let text = "";
  let onData = (): void => {};
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    text += chunk.toString();
    onData();
  });
  const echo = (sent: string): Promise<void> =>
    new Promise((resolve) => {
      const before = text.length;
      onData = () => text.slice(before) === sent && resolve();
      socket.write(sent);
    });
  return { socket, echo };
}

function wire() {
  return [...proxy.wires][0]!;
}

function closed(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => socket.once("close", resolve));
}

describe("the proxy", () => {
  test("forwards both ways, and an orderly close", async () => {
    const { socket, echo } = client();
    await echo("hello");
    const gone = closed(socket);
    socket.end("bye");
    expect(await gone).toBe(false);
    expect(received).toBe("hellobye");
    expect(proxy.wires.size).toBe(0);
  });

  test("resets a connection after exactly the given number of bytes", async () => {
    const { socket, echo } = client();
    await echo("hello");
    wire().cut(3);
    const ends = [closed(socket), closed(await far)];
    socket.write("abcdef");
    await Promise.all(ends);
    expect(received).toBe("helloabc");
  });

  test("holds bytes during a stall and forwards them afterwards", async () => {
    const { socket, echo } = client();
    await echo("hello");
    wire().stall(30);
    await echo("late");
    expect(received).toBe("hellolate");
    socket.destroy();
  });

  test("hides the close of one end of a half-open connection from the other until the reset", async () => {
    const { socket, echo } = client();
    await echo("hello");
    const farEnd = closed(await far);
    wire().halfOpen(30);
    socket.destroy();
    await farEnd;
    expect(received).toBe("hello");
    expect(proxy.wires.size).toBe(0);
  });

  test("lets no connection through while it is down", async () => {
    const { socket, echo } = client();
    await echo("hello");
    const gone = closed(socket);
    proxy.goDown();
    proxy.goDown();
    await gone;
    proxy.comeUp();
    await closed(client().socket);
    proxy.comeUp();
    await client().echo("back");
  });
});
