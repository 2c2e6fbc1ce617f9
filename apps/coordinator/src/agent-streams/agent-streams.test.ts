import { describe, expect, test } from "bun:test";
import { PROTOCOL_HEADER } from "@fleet/protocol";
import { instanceId, nodeId, until } from "../testing.ts";
import { Api, OPERATOR } from "../http/testing.ts";

const NODE = nodeId("radar3");
const REPLACED = 'event: bye\ndata: {"code":"replaced"}\n\n';

/** A stream as an agent reads it. */
class Reader {
  text = "";
  ended = false;
  readonly #cut = new AbortController();

  static async open(api: Api, token: string, id: string = NODE): Promise<Reader | number> {
    const reader = new Reader();
    const response = await fetch(api.url(`/api/v1/agents/${id}/events`), {
      headers: { Authorization: `Bearer ${token}`, [PROTOCOL_HEADER]: "1" },
      signal: reader.#cut.signal,
    });
    if (response.status !== 200) return response.status;
    expect(response.headers.get("Content-Type")).toBe("text/event-stream");
    void reader.#read(response).catch(() => {});
    return reader;
  }

  cut(): void {
    this.#cut.abort();
  }

  async #read(response: Response): Promise<void> {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>)
      this.text += new TextDecoder().decode(chunk);
    this.ended = true;
  }
}

async function opened(api: Api, token: string): Promise<Reader> {
  const reader = await Reader.open(api, token);
  if (typeof reader === "number") throw new Error(`refused: ${reader}`);
  await until(() => reader.text === ": open\n\n");
  return reader;
}

describe("an agent's event stream (C1)", () => {
  test("is kept alive every 15 s, and counts as heard when it opens (R5)", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register(NODE);
    api.clock.advance(80_000);
    const reader = await opened(api, token);
    expect(api.registry.get(NODE)?.heardAtMs).toBe(api.clock.monotonicMs());
    for (let beat = 1; beat <= 3; beat++) {
      for (let s = 0; s < 15; s++) api.clock.advance(1000);
      const text = `: open\n\n${": keepalive\n\n".repeat(beat)}`;
      await until(() => reader.text === text);
    }
    expect(api.streams.size).toBe(1);
  });

  test("is the node's only one: a new one ends the old", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register(NODE);
    const first = await opened(api, token);
    const second = await opened(api, token);
    await until(() => first.ended);
    expect(first.text.endsWith(REPLACED)).toBe(true);
    expect([second.ended, api.streams.size]).toEqual([false, 1]);
  });

  test("is forgotten when the agent disconnects, but not when an older stream of it closes", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register(NODE);
    const reader = await opened(api, token);
    reader.cut();
    await until(() => api.streams.size === 0);
    const first = await opened(api, token);
    await opened(api, token);
    await until(() => first.ended);
    first.cut();
    expect(api.streams.size).toBe(1);
  });

  test("ends with its token", async () => {
    await using api = new Api();
    const answer = await api.register(NODE);
    const reader = await opened(api, answer.access_token);
    api.clock.advance(answer.access_expires_ms - api.clock.nowMs() + 1000);
    await until(() => reader.ended);
    expect(reader.text).toContain('{"code":"token_expired"}');
    expect(await Reader.open(api, answer.access_token)).toBe(401);
  });

  test("of an agent that does not read is closed, and affects no other", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register(NODE);
    const claims = {
      ...(await api.auth.credentials.verifyAccess(token))!,
      expiresMs: Number.MAX_VALUE,
    };
    const silences: number[] = [];
    const body = api.streams.open(claims, { allowSilence: (s) => silences.push(s) });
    const beats = (64 * 1024) / ": keepalive\n\n".length;
    for (let beat = 0; beat < beats - 1; beat++) api.clock.advance(15_000);
    expect(api.streams.size).toBe(1);
    for (let beat = 0; beat < 2; beat++) api.clock.advance(15_000);
    expect([api.streams.size, silences]).toEqual([0, [0, 5]]);
    await body.cancel();
  });

  test("is open to the current instance only (R9)", async () => {
    await using api = new Api();
    const old = await api.register(NODE, { instance_id: instanceId("i1") });
    const reader = await opened(api, old.access_token);
    const now = await api.register(NODE, { instance_id: instanceId("i2") });
    api.streams.end(NODE, "superseded");
    await until(() => reader.ended);
    expect(await Reader.open(api, old.access_token)).toBe(409);
    expect(await Reader.open(api, now.access_token, "other")).toBe(403);
    expect(await Reader.open(api, OPERATOR)).toBe(401);
    expect(typeof (await Reader.open(api, now.access_token))).toBe("object");
  });

  test("ends with a bye event when the coordinator stops", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register(NODE);
    const reader = await opened(api, token);
    await api.streams.stop();
    await until(() => reader.ended);
    expect(reader.text).toContain('{"code":"draining"}');
  });
});
