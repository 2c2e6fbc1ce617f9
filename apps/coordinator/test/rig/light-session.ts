/** Minimal agents for the overload tests, hundreds in one process. */
import { agentsApi } from "@fleet/protocol";
import { ENROLL_TOKEN, type Fleet } from "./fleet.ts";

const LOOPBACK = "127.0.0.1";
const LF = 10;

/** A registered node, without an agent process. */
export interface LightAgent {
  readonly nodeId: string;
  readonly instanceId: string;
  readonly epoch: number;
  readonly token: string;
}

/** Registers a node with these sensors (at most 256). */
export async function register(
  fleet: Fleet,
  nodeId: string,
  sensors: readonly string[],
): Promise<LightAgent> {
  const instanceId = crypto.randomUUID();
  const body = {
    node_id: nodeId,
    instance_id: instanceId,
    version: "0",
    sensors: sensors.map((name) => ({ name, runtime: "native", mode: "stream" as const })),
  };
  const answer = await fleet.api.call(agentsApi.register, { body }, { token: ENROLL_TOKEN });
  const { epoch, access_token: token } = answer;
  return { nodeId, instanceId, epoch, token };
}

/** Returns frame number `n` with its LF and `padBytes` of padding. */
export function frameLine(n: number, padBytes = 0): string {
  const pad = padBytes === 0 ? "" : `,"pad":"${"x".repeat(padBytes)}"`;
  return `{"timestamp":${1_783_500_000_000 + n},"delay":[${n}],"doppler":[0],"snr":[1]${pad}}\n`;
}

/** A session. Frames wait here until the window and the socket allow them to be sent. */
export class LightSession {
  acked = 0;
  /** Messages of the coordinator other than welcome and ack. */
  readonly otherMessages: string[] = [];
  readonly #socket: Bun.Socket;
  readonly #lengths: number[] = [];
  #waiting: Buffer = Buffer.alloc(0);
  #sentBytes = 0;
  #ackedBytes = 0;
  #windowBytes = 0;
  #rest = "";
  #onChange: () => void = () => {};

  private constructor(socket: Bun.Socket) {
    this.#socket = socket;
  }

  /** Connects and waits for the welcome. */
  static async open(fleet: Fleet, agent: LightAgent, sensor: string): Promise<LightSession> {
    const session = new LightSession(
      await Bun.connect({
        hostname: LOOPBACK,
        port: fleet.ports.frames,
        socket: {
          data: (_socket, chunk) => session.#receive(chunk),
          drain: () => session.#pump(),
        },
      }),
    );
    const { nodeId, instanceId, epoch, token } = agent;
    const hello = {
      type: "hello",
      protocol: 1,
      node_id: nodeId,
      sensor,
      token,
      instance_id: instanceId,
      epoch,
      spool_id: crypto.randomUUID(),
      first_seq: 1,
    };
    session.#socket.write(`${JSON.stringify(hello)}\n`);
    await session.#until((self) => self.#windowBytes > 0);
    return session;
  }

  /** Queues whole lines. */
  send(lines: readonly string[]): void {
    for (const line of lines) this.#lengths.push(line.length);
    this.#waiting = Buffer.concat([this.#waiting, Buffer.from(lines.join(""))]);
    this.#pump();
  }

  /** Resolves when frames up to `seq` are acknowledged. The test's timeout is the limit. */
  untilAcked(seq: number): Promise<void> {
    return this.#until((self) => self.acked >= seq);
  }

  close(): void {
    this.#socket.terminate();
  }

  #until(isMet: (self: LightSession) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#onChange = () => {
        if (isMet(this)) resolve();
      };
      this.#onChange();
    });
  }

  #pump(): void {
    const room = this.#windowBytes - (this.#sentBytes - this.#ackedBytes);
    if (room <= 0 || this.#waiting.length === 0) return;
    const written = this.#socket.write(this.#waiting.subarray(0, room));
    if (written <= 0) return;
    this.#sentBytes += written;
    this.#waiting = this.#waiting.subarray(written);
  }

  #receive(chunk: Buffer): void {
    const text = this.#rest + chunk.toString("latin1");
    const end = text.lastIndexOf("\n") + 1;
    this.#rest = text.slice(end);
    if (end > 0 && chunk.includes(LF))
      for (const line of text.slice(0, end - 1).split("\n")) this.#handle(line);
    this.#pump();
    this.#onChange();
  }

  #handle(line: string): void {
    const message = JSON.parse(line) as { type: string; seq?: number; window_bytes?: number };
    if (message.type === "welcome") this.#windowBytes = message.window_bytes!;
    else if (message.type === "ack")
      while (this.acked < message.seq!) this.#ackedBytes += this.#lengths[this.acked++]!;
    else this.otherMessages.push(line);
  }
}
