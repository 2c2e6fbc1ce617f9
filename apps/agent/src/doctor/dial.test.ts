import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { eventually } from "../testing.ts";
import { checkFrames } from "./check-frames.ts";
import { dial } from "./dial.ts";

const open: { stop(now: boolean): unknown }[] = [];

afterEach(() => {
  for (const listener of open.splice(0)) void listener.stop(true);
});

interface Heard {
  connections: number;
  bytes: number;
  isClosed: boolean;
}

function listen(): { readonly port: number; readonly heard: Heard } {
  const heard: Heard = { connections: 0, bytes: 0, isClosed: false };
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: () => void heard.connections++,
      data: (_socket, chunk) => void (heard.bytes += chunk.length),
      close: () => void (heard.isClosed = true),
    },
  });
  open.push(listener);
  return { port: listener.port, heard };
}

function closedPort(): number {
  const { port } = listen();
  for (const listener of open.splice(0)) void listener.stop(true);
  return port;
}

describe("a port (A9)", () => {
  test("that is open is connected to once, without a word, and left again", async () => {
    const { port, heard } = listen();
    const dialled = await dial("127.0.0.1", port, new FakeClock());
    expect(dialled).toEqual({ at: "open", address: "127.0.0.1", tookMs: 0 });
    await eventually(() => heard.isClosed, "the end of the connection");
    expect(heard).toEqual({ connections: 1, bytes: 0, isClosed: true });
  });

  test("that is closed refuses, and is named with the address its host's name stands for", async () => {
    const port = closedPort();
    const clock = new FakeClock();
    const dialled = await dial("localhost", port, clock);
    expect(dialled).toMatchObject({ at: "failed", code: "ECONNREFUSED" });
    if (dialled.at === "failed")
      expect(dialled.reason).toMatch(/^localhost \([\d.:]+\) port \d+ refuses the connection$/);
    expect(clock.timers).toBe(0);
  });

  test("of frames is looked for where the coordinator says, and advice names the port to open", async () => {
    const { port } = listen();
    const clock = new FakeClock();
    const at = (number: number) => ({ host: "127.0.0.1", port: number, tls: false });
    expect(await checkFrames(at(port), clock)).toMatchObject({
      id: "frames",
      status: "ok",
      subject: `127.0.0.1:${port}`,
    });
    const closed = closedPort();
    const found = await checkFrames(at(closed), clock);
    expect(found).toMatchObject({ status: "fail", data: { code: "ECONNREFUSED" } });
    expect(found.remedy).toContain(`TCP port ${closed}`);
    expect(await checkFrames(undefined, clock)).toMatchObject({ status: "warn" });
  });
});
