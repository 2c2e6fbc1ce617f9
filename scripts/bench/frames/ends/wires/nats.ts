/**
 * NATS publisher and subscriber, core and JetStream. (docs.nats.io, "Client Protocol") JetStream stores all subjects in one
 * file stream, acknowledges every publish once it is stored, and delivers through one push consumer. The consumer does not
 * acknowledge, because that would only slow it down.
 */
import { blockOf, splitFrames, type SinkEnd, type SourceEnd } from "./wire.ts";

const CONNECT = 'CONNECT {"verbose":false,"pedantic":false}\r\n';
const PING = "PING\r\n";
const PONG = "PONG\r\n";
const LF = 10;
/** Messages in flight, over all publishers. */
const JETSTREAM_IN_FLIGHT = 4096;
const DELIVER_TO = "deliver";

function subject(stream: number): string {
  return `f.${stream}`;
}

/** Publishes the frames of one stream. `streams` is undefined for core NATS, which acknowledges nothing. */
export function natsSource(stream: number, frames: Buffer, streams?: number): SourceEnd {
  const inbox = `inbox.${stream}`;
  const to = streams === undefined ? subject(stream) : `${subject(stream)} ${inbox}`;
  const window =
    streams === undefined ? undefined : { messages: Math.ceil(JETSTREAM_IN_FLIGHT / streams) };
  let lines = 0;
  const end: SourceEnd = {
    opening: `${CONNECT}${streams === undefined ? "" : `SUB ${inbox} 1\r\n`}${PING}`,
    block: blockOf(splitFrames(frames).map((f) => [`PUB ${to} ${f.length}\r\n`, f, "\r\n"])),
    window,
    isReady: false,
    acked: 0,
    read(chunk) {
      if (!end.isReady) {
        end.isReady = chunk.includes(PONG);
        return undefined;
      }
      // Do not answer, because the PONG could land within a message. The server pings every two minutes and waits for two.
      if (isPing(chunk)) return undefined;
      // An ack is a MSG line and a line of JSON.
      lines += countLines(chunk);
      end.acked = lines >> 1;
      return undefined;
    },
  };
  return end;
}

/** Subscribes to one stream's subject and counts bytes. */
export function natsSink(stream: number, frames: Buffer, repeats: number): SinkEnd {
  let expected = 0;
  for (const { length } of splitFrames(frames))
    expected += `MSG ${subject(stream)} 1 ${length}\r\n`.length + length + 2;
  const end: SinkEnd = {
    opening: `${CONNECT}SUB ${subject(stream)} 1\r\n${PING}`,
    isReady: false,
    received: 0,
    expected: expected * repeats,
    read(chunk) {
      if (!end.isReady) end.isReady = chunk.includes(PONG);
      else if (isPing(chunk)) return PONG;
      else end.received += chunk.length;
      return undefined;
    },
  };
  return end;
}

/** Creates the stream and its consumer, and counts the delivered lines. */
export function jetstreamSink(messages: number): SinkEnd {
  const stream = { name: "F", subjects: ["f.*"], storage: "file", retention: "limits" };
  const config = { deliver_subject: DELIVER_TO, ack_policy: "none", deliver_policy: "all" };
  const request = (to: string, body: object): string => {
    const json = JSON.stringify(body);
    return `PUB $JS.API.${to} made ${json.length}\r\n${json}\r\n`;
  };
  let response = "";
  const end: SinkEnd = {
    opening: `${CONNECT}SUB made 2\r\n${request("STREAM.CREATE.F", stream)}`,
    isReady: false,
    received: 0,
    // A message is a MSG line and the frame.
    expected: messages * 2,
    read(chunk) {
      if (end.isReady) {
        if (isPing(chunk)) return PONG;
        end.received += countLines(chunk);
        return undefined;
      }
      response += chunk.toString("latin1");
      if (response.includes('"error"')) throw new Error(response);
      if (response.includes("stream_create_response") && response.endsWith("}\r\n")) {
        response = "";
        return `SUB ${DELIVER_TO} 1\r\n${request("CONSUMER.CREATE.F", { stream_name: "F", config })}`;
      }
      end.isReady = response.includes("consumer_create_response") && response.endsWith("}\r\n");
      return undefined;
    },
  };
  return end;
}

function isPing(chunk: Buffer): boolean {
  return chunk.length === PING.length && chunk.toString("latin1") === PING;
}

function countLines(chunk: Buffer): number {
  let lines = 0;
  for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, at + 1)) lines++;
  return lines;
}
