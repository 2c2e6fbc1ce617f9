import { describe, expect, test } from "bun:test";
import { nodeId, streamId, until } from "../testing.ts";
import { frame, FramePort, lines, type Peer, PUSH } from "./testing.ts";

async function push(port: FramePort, id: string, n = 1): Promise<Peer> {
  const peer = await port.connect();
  peer.send(lines(frame(n, { node_id: id, token: PUSH })));
  return peer;
}

describe("a push token (T2)", () => {
  test("provisions a limited number of streams; refusals are counted, and logged once a minute for each node", async () => {
    await using port = new FramePort({ perTokenMax: 2 });
    for (const id of ["a", "b"]) {
      await push(port, id);
      await port.tracker(id);
    }
    const c = await push(port, "c");
    for (let n = 2; n < 6; n++) c.send(lines(frame(n, { node_id: "c", token: PUSH })));
    await push(port, "d");
    await until(() => port.counts.get("quota") === 6);
    expect(port.manager.refused.quota).toBe(6);
    expect(port.manager.list().map((t) => t.streamId as string)).toEqual(["a", "b"]);
    const warnings = port.log.lines.filter((l) =>
      l.message.startsWith("push token has provisioned"),
    );
    expect(warnings.map((l) => l.fields)).toEqual([
      { stream_id: "c", token_name: "env:FLEET_PUSH_TOKEN", streams_max: 2, held_back: 0 },
      { stream_id: "d", token_name: "env:FLEET_PUSH_TOKEN", streams_max: 2, held_back: 0 },
    ]);
    port.clock.advance(60_000);
    c.send(lines(frame(9, { node_id: "c", token: PUSH })));
    await until(() => port.counts.get("quota") === 7);
    expect(port.log.lines.at(-1)?.fields).toMatchObject({ stream_id: "c", held_back: 4 });
  });

  test("counts the streams that it provisioned before a restart, which need no new place", async () => {
    const before = new FramePort({ perTokenMax: 1 });
    await push(before, "a");
    await before.tracker("a");
    await before[Symbol.asyncDispose]();
    await using port = new FramePort({ perTokenMax: 1, db: before.db });
    await port.manager.start();
    await push(port, "b");
    await until(() => port.counts.get("quota") === 1);
    await push(port, "a", 2);
    await port.tracker("a");
  });

  test("is not charged for agents' streams, nor for nodes of the config", async () => {
    await using port = new FramePort({ perTokenMax: 1, configured: ["hill"] });
    await port.manager.start();
    await port.session();
    await push(port, "hill");
    await push(port, "a");
    for (const id of ["radar3.radar", "hill", "a"]) await port.tracker(id);
    await push(port, "b");
    await until(() => port.counts.get("quota") === 1);
    expect(port.manager.get(streamId("b"))).toBeUndefined();
  });

  test("cannot fill the list of nodes: too many are refused and counted (R10)", async () => {
    await using port = new FramePort({ plainNodesMax: 1 });
    await push(port, "a");
    await port.tracker("a");
    await push(port, "b");
    await until(() => port.counts.get("too_many_nodes") === 1);
    expect(port.registry.get(nodeId("b"))).toBeUndefined();
    expect(port.manager.get(streamId("b"))).toBeUndefined();
  });
});
