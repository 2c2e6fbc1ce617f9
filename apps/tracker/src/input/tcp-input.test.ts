import { afterEach, describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { FakeClock } from "@fleet/daemon/testing";
import { TcpInput, WAITING_MAX } from "./tcp-input.ts";

const HOST = "127.0.0.1";
const cleanUps: (() => void)[] = [];

afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

/** A listening input that logs its callbacks, and a way to wait for them. */
function setUp(work: () => Promise<void> | undefined = () => undefined) {
  const log: string[] = [];
  let wake = (): void => {};
  const note = (entry: string): void => {
    log.push(entry);
    wake();
  };
  const clock = new FakeClock();
  const input = new TcpInput(clock, {
    onClient: () => note("client"),
    onData: (chunk) => {
      note(new TextDecoder().decode(chunk));
      return work();
    },
    onClientEnd: () => note("end"),
  });
  const port = input.start(HOST, 0);
  cleanUps.push(() => void input.stop(0));
  const until = async (...entries: string[]): Promise<void> => {
    while (log.length < entries.length) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    expect(log).toEqual(entries);
  };
  return { input, clock, port, log, until };
}

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, HOST);
  socket.on("error", () => {});
  cleanUps.push(() => socket.destroy());
  await once(socket, "connect");
  return socket;
}

function closed(socket: Socket): Promise<void> {
  socket.resume();
  return new Promise((resolve) => {
    if (socket.destroyed) resolve();
    else socket.once("close", () => resolve());
  });
}

describe("TcpInput", () => {
  test("passes on the data of its client", async () => {
    const { port, until } = setUp();
    const client = await dial(port);
    client.end("hello");
    await until("client", "hello", "end");
  });

  test("does not read a second client until the first has disconnected", async () => {
    const { port, until } = setUp();
    const first = await dial(port);
    const second = await dial(port);
    second.write("two");
    first.write("one");
    await until("client", "one");
    first.end();
    await until("client", "one", "end", "client", "two");
  });

  test("skips a client that gave up waiting, and serves the next", async () => {
    const { port, until } = setUp();
    const first = await dial(port);
    const second = await dial(port);
    const third = await dial(port);
    first.write("one");
    await until("client", "one");
    second.end("two");
    third.write("three");
    first.end();
    await until("client", "one", "end", "client", "two", "end", "client", "three");
  });

  test("closes a client beyond WAITING_MAX", async () => {
    const { port } = setUp();
    for (let count = 0; count < 1 + WAITING_MAX; count++) await dial(port);
    const refused = await dial(port);
    await closed(refused);
  });

  test("does not read while data is being processed, and ends the client only afterwards", async () => {
    let finish = Promise.withResolvers<void>();
    const { port, log, until } = setUp(() => finish.promise);
    const client = await dial(port);
    client.write("one");
    await until("client", "one");
    client.end("two");
    // A round trip of another connection through the same event loop.
    await dial(port);
    expect(log).toEqual(["client", "one"]);
    finish.resolve();
    await until("client", "one", "two");
    finish.resolve();
    finish = Promise.withResolvers<void>();
  });

  test("fails with the system's code when the port is taken", () => {
    const { port, clock } = setUp();
    const other = new TcpInput(clock, {
      onClient: () => {},
      onData: () => undefined,
      onClientEnd: () => {},
    });
    expect(() => other.start(HOST, port)).toThrow(expect.objectContaining({ code: "EADDRINUSE" }));
  });

  test("stops after a short silence without a client, and only once", async () => {
    const { input, clock, port } = setUp();
    const stopped = input.stop(1000);
    expect(input.stop(2000)).toBe(stopped);
    clock.advance(20);
    await stopped;
    const late = connect(port, HOST);
    const [error] = (await once(late, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNREFUSED");
  });

  test("reads the data of its client before it stops, and waits only until it is silent", async () => {
    const { input, clock, port, until } = setUp();
    const client = await dial(port);
    client.write("one");
    await until("client", "one");
    client.write("two");
    const stopped = input.stop(1000);
    await until("client", "one", "two");
    clock.advance(20);
    await Promise.resolve();
    clock.advance(20);
    await stopped;
    await closed(client);
  });

  test("does not count the time spent on a chunk as the client's silence", async () => {
    const clock = new FakeClock();
    const log: string[] = [];
    let arrived = Promise.withResolvers<void>();
    const input = new TcpInput(clock, {
      onClient: () => {},
      onData: (chunk) => {
        log.push(new TextDecoder().decode(chunk));
        clock.advance(500);
        arrived.resolve();
        return undefined;
      },
      onClientEnd: () => {},
    });
    const client = await dial(input.start(HOST, 0));
    const stopped = input.stop(10_000);
    client.write("one");
    await arrived.promise;
    arrived = Promise.withResolvers<void>();
    client.write("two");
    await arrived.promise;
    expect(log).toEqual(["one", "two"]);
    clock.advance(40);
    await Promise.resolve();
    clock.advance(40);
    await stopped;
  });

  test("stops by the deadline even if processing never ends", async () => {
    const { input, clock, port, until } = setUp(() => new Promise<void>(() => {}));
    const client = await dial(port);
    client.write("one");
    await until("client", "one");
    const stopped = input.stop(50);
    for (let step = 0; step < 3; step++) {
      clock.advance(20);
      await Promise.resolve();
    }
    await stopped;
  });
});
