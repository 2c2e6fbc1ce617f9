/** MQTT 3.1.1 publisher and subscriber at QoS 1, where both sides acknowledge every message. (OASIS, sections 3.1 to 3.9) */
import { fail } from "../orders.ts";
import { blockOf, splitFrames, type SinkEnd, type SourceEnd } from "./wire.ts";

const PUBLISH_QOS_1 = 0x32;
const PUBACK = 0x40;
const CONNACK = 0x20;
const SUBACK = 0x90;
const ACK_BYTES = 4;
const KEEP_ALIVE_S = 600;
/** Messages in flight, over all publishers. Packet ids are unique within a block, so the block's size is another bound. */
const IN_FLIGHT = 1000;

function topic(stream: number): string {
  return `f/${stream}`;
}

/** A string or payload preceded by its length. (1.5.3) */
function field(text: string): Buffer {
  return Buffer.concat([word(text.length), Buffer.from(text, "latin1")]);
}

function word(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255);
}

/** A fixed header: type and flags, followed by the remaining length in groups of 7 bits. (2.2.3) */
function header(first: number, length: number): Buffer {
  const bytes = [first];
  let rest = length;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.from(bytes);
}

function connect(name: string): Buffer {
  const clean = 2;
  const body = Buffer.concat([field("MQTT"), Buffer.of(4, clean), word(KEEP_ALIVE_S), field(name)]);
  return Buffer.concat([header(0x10, body.length), body]);
}

/** Publishes the frames of one stream. */
export function mqttSource(stream: number, frames: Buffer, streams: number): SourceEnd {
  const name = field(topic(stream));
  const all = splitFrames(frames).slice(0, 65_535);
  let bytes = 0;
  const end: SourceEnd = {
    opening: connect(`source-${stream}`),
    block: blockOf(
      all.map((frame, i) => [
        header(PUBLISH_QOS_1, name.length + 2 + frame.length),
        name,
        word(i + 1),
        frame,
      ]),
    ),
    window: { messages: Math.min(all.length, Math.max(10, Math.floor(IN_FLIGHT / streams))) },
    isReady: false,
    acked: 0,
    read(chunk) {
      if (!end.isReady) {
        if (chunk[0] !== CONNACK || chunk[3] !== 0)
          fail(`MQTT: expected a successful CONNACK, got type ${chunk[0]}`);
        end.isReady = true;
        return undefined;
      }
      bytes += chunk.length;
      end.acked = Math.floor(bytes / ACK_BYTES);
      return undefined;
    },
  };
  return end;
}

/** Subscribes to one stream's topic and counts messages. */
export function mqttSink(stream: number, messages: number): SinkEnd {
  const filter = Buffer.concat([word(1), field(topic(stream)), Buffer.of(1)]);
  let carry: Buffer = Buffer.alloc(0);
  const end: SinkEnd = {
    opening: Buffer.concat([connect(`sink-${stream}`), header(0x82, filter.length), filter]),
    isReady: false,
    received: 0,
    expected: messages,
    read(chunk) {
      const bytes = carry.length === 0 ? chunk : Buffer.concat([carry, chunk]);
      const acks: number[] = [];
      let at = 0;
      for (;;) {
        const next = packetEnd(bytes, at);
        if (next > bytes.length) break;
        if (bytes[at] === SUBACK) end.isReady = true;
        else if ((bytes[at]! & 0xf0) === 0x30) acks.push(packetIdAt(bytes, at));
        at = next;
      }
      // Copy, because the chunk is valid only during the call.
      carry = Buffer.from(bytes.subarray(at));
      end.received += acks.length;
      return acks.length === 0 ? undefined : pubAcks(acks);
    },
  };
  return end;
}

/** Returns the end of the packet at `at`; Infinity if its length is incomplete. */
function packetEnd(bytes: Buffer, at: number): number {
  let length = 0;
  for (let i = 1, shift = 0; at + i < bytes.length; i++, shift += 7) {
    const byte = bytes[at + i]!;
    length |= (byte & 127) << shift;
    if (byte < 128) return at + i + 1 + length;
  }
  return Infinity;
}

/** Returns the packet id of a PUBLISH, which follows its topic. */
function packetIdAt(bytes: Buffer, at: number): number {
  let body = at + 1;
  while (bytes[body]! > 127) body++;
  body++;
  return bytes.readUInt16BE(body + 2 + bytes.readUInt16BE(body));
}

function pubAcks(ids: readonly number[]): Uint8Array {
  const out = new Uint8Array(ids.length * ACK_BYTES);
  let at = 0;
  for (const id of ids) {
    out[at] = PUBACK;
    out[at + 1] = 2;
    out[at + 2] = id >> 8;
    out[at + 3] = id & 255;
    at += ACK_BYTES;
  }
  return out;
}
