import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock, TestAuthority, type TestPair } from "@fleet/daemon/testing";
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

function listen(tls?: TestPair): { readonly port: number; readonly heard: Heard } {
  const heard: Heard = { connections: 0, bytes: 0, isClosed: false };
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    ...(tls === undefined ? {} : { tls }),
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
    expect(await checkFrames(at(port), undefined, clock)).toMatchObject({
      id: "frames",
      status: "ok",
      subject: `127.0.0.1:${port}`,
    });
    const closed = closedPort();
    const found = await checkFrames(at(closed), undefined, clock);
    expect(found).toMatchObject({ status: "fail", data: { code: "ECONNREFUSED" } });
    expect(found.remedy).toContain(`TCP port ${closed}`);
    expect(await checkFrames(undefined, undefined, clock)).toMatchObject({ status: "warn" });
  });

  test("of frames that speaks TLS is believed as an uplink would, and gets no word", async () => {
    const authority = new TestAuthority();
    const clock = new FakeClock();
    const { port, heard } = listen(authority.issue());
    const endpoint = { host: "localhost", port, tls: true };
    const found = await checkFrames(endpoint, authority.cert, clock);
    expect(found).toMatchObject({ status: "ok" });
    expect(found.message).toStartWith("accepts TLS connections");
    const failure = async (tls: TestPair | undefined, ca = authority.cert): Promise<string> => {
      const check = await checkFrames({ ...endpoint, port: listen(tls).port }, ca, clock);
      expect(check).toMatchObject({ id: "frames", status: "fail" });
      expect(check.remedy).toBeString();
      return check.message;
    };
    expect(await failure(authority.issue({ to: 2021 }))).toBe("its certificate has expired");
    expect(await failure(authority.issue({ from: 2048 }))).toBe("its certificate is not valid yet");
    expect(await failure(authority.issue({ names: ["hill.example"] }))).toBe(
      "its certificate is for another host name",
    );
    expect(await failure(new TestAuthority("Other").issue())).toBe(
      "its certificate is not signed by an authority that the agent trusts",
    );
    expect(heard.bytes).toBe(0);
    expect(clock.timers).toBe(0);
  });
});
