import { describe, expect, test } from "bun:test";
import { EventWriter, readEvents, type ServerEvent } from "./sse.ts";

function written(text: string, chunkBytes: number): Response {
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += chunkBytes)
        controller.enqueue(bytes.slice(at, at + chunkBytes));
      controller.close();
    },
  });
  return new Response(body);
}

const all = (response: Pick<Response, "body">): Promise<ServerEvent[]> =>
  Array.fromAsync(readEvents(response));

describe("an event stream", () => {
  test("is read as it was written, in whatever pieces it arrives", async () => {
    const writer = new EventWriter({ events: 10 }, () => {});
    writer.comment("open");
    writer.send({ event: "node.a.state", data: '{"a":"é: b"}' });
    writer.send({ event: "long", data: "first\nsecond", id: "7" });
    writer.close();
    const text = await new Response(writer.body).text();
    expect(text).toBe(
      ': open\n\nevent: node.a.state\ndata: {"a":"é: b"}\n\nid: 7\nevent: long\ndata: first\ndata: second\n\n',
    );
    for (const spelled of [text, text.replaceAll("\n", "\r\n")])
      for (const chunkBytes of [1, 2, 7, 1000])
        expect(await all(written(spelled, chunkBytes))).toEqual([
          { event: "node.a.state", data: '{"a":"é: b"}' },
          { event: "long", data: "first\nsecond", id: "7" },
        ]);
  });

  test("yields no event without data, and none that is cut off", async () => {
    expect(await all(written("event: a\n\ndata\n\n:\ndata: b", 1000))).toEqual([
      { event: "message", data: "" },
    ]);
  });

  test("with an endless line, or an endless event, is refused", async () => {
    const long = "x".repeat(1024 * 1024 + 1);
    expect(all(written(`data: ${long}`, 65_536))).rejects.toThrow("a line exceeds");
    const half = "x".repeat(600_000);
    const event = `data: ${half}\ndata: ${half}\n\n`;
    expect(all(written(event, 65_536))).rejects.toThrow("an event exceeds");
  });
});

describe("a client that does not keep up", () => {
  test.each([
    ["events", { events: 2 }],
    ["bytes", { bytes: 20 }],
  ])("is disconnected when too many %s wait, once", async (_what, limit) => {
    const causes: string[] = [];
    const writer = new EventWriter(limit, (cause) => causes.push(cause));
    for (let n = 0; n < 5; n++) writer.comment(`number ${n}`);
    expect(causes).toEqual(["server"]);
    expect(await new Response(writer.body).text()).toBe(": number 0\n\n: number 1\n\n");
  });
});

test("a client that disconnects closes the stream, and nothing is written any more", async () => {
  const causes: string[] = [];
  const writer = new EventWriter({ events: 10 }, (cause) => causes.push(cause));
  await writer.body.cancel();
  writer.comment("late");
  writer.close();
  expect(causes).toEqual(["client"]);
});
