import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { RegisterLimiter, IN_PROGRESS_MAX } from "./register-limiter.ts";
import { Api, ENROLL } from "../testing.ts";

function crowd(registerLimiter: RegisterLimiter): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (let i = 0; i < IN_PROGRESS_MAX; i++) void registerLimiter.run(() => promise);
  return resolve;
}

describe("many registrations at once (A13)", () => {
  test("are limited; the others are told at once when to return, spread over the time the backlog needs", async () => {
    const registerLimiter = new RegisterLimiter(new FakeClock(), seededRandom(1));
    const letGo = crowd(registerLimiter);
    const late = await Promise.all(
      Array.from({ length: 5000 }, () => registerLimiter.run(() => Promise.resolve("in"))),
    );
    const seconds = late.map((answer) => (typeof answer === "string" ? 0 : answer.retryAfterS));
    expect(seconds.every((s) => s >= 1 && s <= 11)).toBe(true);
    expect(seconds.slice(0, 300).every((s) => s === 1)).toBe(true);
    const counts = Array.from({ length: 11 }, (_, i) => seconds.filter((s) => s === i + 1).length);
    expect(Math.max(...counts.slice(1))).toBeLessThan(1200);
    expect(counts.slice(0, 10).every((n) => n > 0)).toBe(true);
    expect(registerLimiter.refused).toBe(5000);
    letGo();
    await Promise.resolve();
    await Promise.resolve();
    expect(await registerLimiter.run(() => Promise.resolve("in"))).toBe("in");
  });

  test("free their place when they fail", async () => {
    const registerLimiter = new RegisterLimiter(new FakeClock(), seededRandom(1));
    for (let i = 0; i < IN_PROGRESS_MAX + 1; i++) {
      const failed = registerLimiter.run(() => Promise.reject(new Error("disk")));
      expect(await failed.catch(String)).toBe("Error: disk");
    }
  });

  test("are refused with 503 and Retry-After", async () => {
    await using api = new Api();
    const letGo = crowd(api.registerLimiter);
    const body = { node_id: "radar3", instance_id: "i1", version: "1" };
    const refused = await api.call("POST", "/api/v1/agents/register", { token: ENROLL, body });
    expect([refused.status, refused.headers.get("Retry-After")]).toEqual([503, "1"]);
    expect(refused.body).toMatchObject({ error: { code: "busy" } });
    letGo();
    expect((await api.register("radar3")).epoch).toBe(1);
    expect(api.log.lines.filter((l) => l.level === "error")).toEqual([]);
  });

  test("take no place while their body is still arriving", async () => {
    await using api = new Api();
    const body = JSON.stringify({ node_id: "slow", instance_id: "i1", version: "1" });
    const head = [
      "POST /api/v1/agents/register HTTP/1.1",
      "Host: coordinator",
      `Authorization: Bearer ${ENROLL}`,
      "X-Fleet-Protocol-Version: 1",
      `Content-Length: ${body.length}`,
    ];
    const slow = await Promise.all(
      Array.from({ length: IN_PROGRESS_MAX }, async () => {
        const socket = await Bun.connect({
          hostname: "127.0.0.1",
          port: api.server.port,
          socket: { data() {} },
        });
        socket.write(`${head.join("\r\n")}\r\n\r\n${body.slice(0, 5)}`);
        return socket;
      }),
    );
    expect((await api.register("radar3")).epoch).toBe(1);
    expect(api.registerLimiter.refused).toBe(0);
    for (const socket of slow) socket.terminate();
  });
});
