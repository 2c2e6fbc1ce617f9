import { describe, expect, test } from "bun:test";
import { createTokenRequestSchema, type NewToken } from "@fleet/protocol";
import { FAILURES_MAX } from "../auth/throttle.ts";
import { nodeId, until } from "../testing.ts";
import { FramePort, lines, PUSH } from "./testing.ts";

async function create(
  port: FramePort,
  more: Partial<NewToken>,
): Promise<{ readonly id: string; readonly secret: string }> {
  const order = createTokenRequestSchema.parse({ name: "made", kind: "push", ...more });
  const outcome = await port.auth.tokens.create(order, "boss");
  if (outcome.at !== "created") throw new Error(outcome.at);
  return { id: outcome.view.id, secret: outcome.secret };
}

function beat(id: string, token: string): string {
  return lines(JSON.stringify({ node_id: id, token, type: "heartbeat" }));
}

describe("a push token that was created (H5, R10)", () => {
  test("admits the nodes it is for, and the others are counted", async () => {
    await using port = new FramePort();
    const { secret } = await create(port, { nodes: ["mast?"] });
    const peer = await port.connect();
    peer.send(beat("radar3", secret) + beat("mast1", secret));
    await until(() => port.registry.get(nodeId("mast1")) !== undefined);
    expect(port.registry.get(nodeId("radar3"))).toBeUndefined();
    expect(port.counts.get("token_not_for_node")).toBe(1);
  });

  test("puts the nodes that it adds into its group, and speaks for no node outside", async () => {
    await using port = new FramePort();
    const { secret } = await create(port, { groups: ["north"] });
    const peer = await port.connect();
    peer.send(beat("mast1", secret));
    await until(() => port.registry.get(nodeId("mast1"))?.row.group === "north");
    const other = await port.connect();
    other.send(beat("mast2", PUSH));
    await until(() => port.registry.get(nodeId("mast2")) !== undefined);
    const third = await port.connect();
    third.send(beat("mast2", secret));
    await until(() => port.counts.get("token_not_for_node") === 1);
  });

  test.each(["revoked", "expired"])(
    "that is %s ends the connections that came in with it, no others, and opens nothing any more",
    async (how) => {
      await using port = new FramePort();
      const { id, secret } = await create(port, { expires_in_ms: 3_600_000 });
      const [mine, other] = [await port.connect(), await port.connect()];
      mine.send(beat("mast1", secret));
      other.send(beat("mast2", PUSH));
      await until(() => port.registry.list().length === 2);
      if (how === "revoked") await port.auth.tokens.revoke(id);
      else port.clock.advance(3_600_000);
      await until(() => mine.closed);
      expect([other.closed, port.counts.get("token_ended")]).toEqual([false, 1]);
      const again = await port.connect();
      again.send(beat("mast1", secret));
      await until(() => port.counts.get("refused_line") === 1);
    },
  );
});

describe("an address that sends wrong push tokens (H5)", () => {
  test("is cut off after too many, and its short tokens are not checked any more; long ones are", async () => {
    await using port = new FramePort();
    const { secret } = await create(port, {});
    // A connection has few lines to authenticate in, so a guesser needs several.
    for (let tries = 0; tries < FAILURES_MAX; tries += 10) {
      const trying = await port.connect();
      trying.send(beat("mast1", "wrong").repeat(10));
      await until(() => port.auth.refused.get("frames") >= Math.min(tries + 10, FAILURES_MAX));
      trying.close();
    }
    const trying = await port.connect();
    trying.send(beat("mast1", "wrong"));
    await until(() => trying.closed);
    expect(port.counts.get("too_many_failures")).toBeGreaterThan(0);
    const short = await port.connect();
    short.send(beat("mast1", PUSH));
    await until(() => short.closed);
    const long = await port.connect();
    long.send(beat("mast1", secret));
    await until(() => port.registry.get(nodeId("mast1")) !== undefined);
    expect(long.closed).toBe(false);
  });

  test("does not affect a node behind it whose line arrives in pieces", async () => {
    await using port = new FramePort();
    for (let i = 0; i < FAILURES_MAX; i++) port.auth.addFailure("127.0.0.1", "frames");
    const { secret } = await create(port, {});
    const peer = await port.connect();
    const line = beat("mast1", secret);
    peer.send(line.slice(0, 20));
    peer.send(line.slice(20));
    await until(() => port.registry.get(nodeId("mast1")) !== undefined);
  });

  test("is counted for wrong hellos, too, but not for expired access tokens", async () => {
    await using port = new FramePort();
    const hello = await port.hello();
    port.clock.advance(2 * 3_600_000);
    const late = await port.connect();
    late.send(lines(JSON.stringify(hello)));
    await until(() => late.closed);
    expect(port.auth.refused.get("frames")).toBe(0);
    const wrong = await port.connect();
    wrong.send(lines(JSON.stringify({ ...hello, token: "x.y.z" })));
    await until(() => wrong.closed);
    expect(port.auth.refused.get("frames")).toBe(1);
  });
});
