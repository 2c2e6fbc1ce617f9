/** Helpers of the agent's tests: waiting without sleeping, a recorded log, a scripted frame port and an uplink to it. */
import { type Clock, type Log, seededRandom, systemClock } from "@fleet/daemon";
import { FakeClock, type TestPair } from "@fleet/daemon/testing";
import { instanceIdSchema, LineDecoder, nodeIdSchema, sensorNameSchema } from "@fleet/protocol";
import { type SensorConfig, sensorConfig, sensorSchema } from "./config/sensor.ts";
import type { Grant } from "./registration/check-in.ts";
import { DiskSpool } from "./spool/disk-spool.ts";
import { Uplink } from "./uplink/uplink.ts";

const WAIT_MS_MAX = 4000;

/** Runs the event loop until `condition` holds. Throws after WAIT_MS_MAX. */
export async function eventually(condition: () => boolean, what = "the condition"): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + WAIT_MS_MAX;
  while (!condition()) {
    if (systemClock.monotonicMs() > deadlineMs) throw new Error(`${what} did not come true`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** One recorded log line. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** A log that records its lines; children write to the same list. */
export function recordingLog(): { readonly log: Log; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const make = (base: Record<string, unknown>): Log => {
    const at = (level: LogLine["level"]) => (fields: Record<string, unknown>, message: string) =>
      void lines.push({ level, fields: { ...base, ...fields }, message });
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: (fields) => make({ ...base, ...fields }),
    };
  };
  return { log: make({}), lines };
}

/** A valid frame, without LF; `n` makes it unique. */
export function frameText(n: number): string {
  return `{"timestamp":${1_783_500_000_000 + n},"delay":[${n}.5],"doppler":[-3],"snr":[12]}`;
}

/** A sensor's config from an entry of agent.yaml, with its defaults. */
export function sensorOf(file: Readonly<Record<string, unknown>>): SensorConfig {
  return sensorConfig(sensorSchema.parse({ name: "radar", command: ["x"], ...file }), []);
}

/** A frame port on loopback on which the test plays the coordinator; with a certificate it speaks TLS. */
export class FramePort {
  readonly peers: Peer[] = [];
  readonly #listener: Bun.TCPSocketListener<{ peer: Peer } | undefined>;
  #taken = 0;

  constructor(tls?: TestPair) {
    this.#listener = Bun.listen<{ peer: Peer } | undefined>({
      hostname: "127.0.0.1",
      port: 0,
      ...(tls === undefined ? {} : { tls }),
      socket: {
        open: (socket) => {
          const peer = new Peer(socket);
          socket.data = { peer };
          this.peers.push(peer);
        },
        data: (socket, chunk) => socket.data?.peer.received(chunk),
        close: (socket) => {
          // A TLS client may close before its connection counts as open.
          if (socket.data !== undefined) socket.data.peer.isClosed = true;
        },
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Bytes received on all connections. */
  get bytes(): number {
    return this.peers.reduce((sum, peer) => sum + peer.bytes, 0);
  }

  /** The next connection that was not yet accepted. */
  async accept(): Promise<Peer> {
    const index = this.#taken++;
    await eventually(() => this.peers.length > index, "a connection");
    return this.peers[index]!;
  }

  stop(): void {
    this.#listener.stop(true);
  }
}

/** The coordinator's end of one connection. */
export class Peer {
  isClosed = false;
  /** Received lines, without LF; `lines[0]` is the hello. */
  readonly lines: string[] = [];
  /** Bytes received. */
  bytes = 0;
  readonly #socket: Bun.Socket<{ peer: Peer } | undefined>;
  readonly #decoder = new LineDecoder();

  constructor(socket: Bun.Socket<{ peer: Peer } | undefined>) {
    this.#socket = socket;
  }

  /** The line at `index`, once it has arrived. */
  async line(index: number): Promise<unknown> {
    await eventually(() => this.lines.length > index, `line ${index}`);
    return JSON.parse(this.lines[index]!);
  }

  send(line: object): void {
    this.sendText(`${JSON.stringify(line)}\n`);
  }

  sendText(text: string): void {
    this.#socket.write(text);
  }

  welcome(acked: number, windowBytes = 4 * 1024 * 1024): void {
    this.send({ type: "welcome", acked, window_bytes: windowBytes });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  cut(): void {
    this.#socket.terminate();
  }

  received(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    this.#decoder.push(chunk, (bytes, start, end) =>
      this.lines.push(new TextDecoder().decode(bytes.subarray(start, end))),
    );
  }
}

/** A spool without a directory that drops its oldest frames above `bytesMax`. */
export function memorySpool(clock: Clock, log: Log, bytesMax = 1 << 26): DiskSpool {
  const bounds = { bytesMax, memoryBytesMax: bytesMax, ageMaxMs: undefined } as const;
  return new DiskSpool({ ...bounds, onFull: "drop_oldest", dir: undefined, clock, log });
}

/** How the uplink of a rig differs from the default. */
export interface UplinkRigOptions {
  readonly bytesMax?: number;
  readonly ca?: string | undefined;
  readonly grant?: Grant;
}

/** A grant whose frames go to `framePort` on loopback. */
export function grantFor(framePort: number, epoch = 7): Grant {
  return {
    nodeId: nodeIdSchema.parse("radar3"),
    instanceId: instanceIdSchema.parse("i1"),
    epoch,
    accessToken: "access-token",
    frames: { host: "127.0.0.1", port: framePort, tls: false },
  };
}

/** An uplink of the sensor `radar` with a fake clock, not started yet. `now.grant` may be changed; `produce` spools numbered frames, each padded to `size` bytes. */
export function uplinkRig(port: FramePort, options: UplinkRigOptions = {}) {
  const clock = new FakeClock();
  const { log, lines } = recordingLog();
  const spool = memorySpool(clock, log, options.bytesMax);
  const seen = { unauthorized: [] as Grant[], superseded: 0, lost: 0 };
  const now: { grant: Grant | undefined } = { grant: options.grant ?? grantFor(port.port) };
  const uplink = new Uplink({
    sensor: sensorNameSchema.parse("radar"),
    spool,
    ca: options.ca,
    clock,
    random: seededRandom(1),
    log,
    grant: () => now.grant,
    onUnauthorized: (refused) => seen.unauthorized.push(refused),
    onSuperseded: () => seen.superseded++,
    onLost: () => seen.lost++,
  });
  const produce = (first: number, last: number, size = 0): void => {
    for (let n = first; n <= last; n++) {
      const line = new TextEncoder().encode(frameText(n).padEnd(size));
      spool.append(line, 0, line.length);
    }
  };
  const at = (state: string): Promise<void> => eventually(() => uplink.state.at === state, state);
  const stop = (): void => void uplink.stop(clock.monotonicMs());
  return { clock, log, lines, spool, seen, now, uplink, produce, at, stop };
}

/** Plays a coordinator that accepts the session, up to the welcome. */
export async function welcomed(port: FramePort, acked = 0, windowBytes = 1 << 22) {
  const peer = await port.accept();
  const hello = await peer.line(0);
  peer.welcome(acked, windowBytes);
  return { peer, hello };
}

/** A port on loopback that is free at the moment. */
export function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  probe.stop(true);
  return probe.port;
}
