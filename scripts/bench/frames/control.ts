/**
 * How the frame bench talks to its parts, each of which is a process: a part sends one line of JSON over a loopback connection
 * and continues when the bench closes it. The bench keeps the connections of parts that are `ready` open until `go`.
 */
import { wallMs } from "../shared/wall-clock.ts";

/** What a part reports. `figures` holds what it measured itself, if anything. */
export interface Report {
  readonly part: "sink" | "source" | "sensor" | "latency";
  readonly event: "ready" | "first" | "done";
  /** Unix ms, fractional. A shell script does not send it. */
  readonly atMs?: number;
  readonly figures?: readonly number[];
}

const WAIT_MS_MAX = 120_000;

/** Sends one report. Resolves when the bench has closed the connection. */
export async function sendReport(port: number, report: Omit<Report, "atMs">): Promise<void> {
  const line = JSON.stringify({ ...report, atMs: wallMs() } satisfies Report);
  const { promise, resolve } = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write(`${line}\n`),
      data() {},
      close: () => resolve(),
    },
  });
  await promise;
}

/** A report with the time at which it was sent or, failing that, received. */
export type Received = Report & { readonly atMs: number };

/** The bench's end: collects reports and lets the parts begin together. */
export class Control {
  readonly #reports: Received[] = [];
  readonly #held: Bun.Socket<{ text: string }>[] = [];
  readonly #waiting = new Set<(r: Received | Error) => void>();
  readonly #listener = Bun.listen<{ text: string }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { text: "" };
      },
      data: (socket, chunk) => {
        socket.data.text += chunk.toString("utf8");
        if (socket.data.text.endsWith("\n")) this.#take(socket);
      },
    },
  });

  get port(): number {
    return this.#listener.port;
  }

  /** Resolves with the first matching report, past or future. Rejects after `limitMs`, so that the bench never hangs. */
  wait(part: Report["part"], event: Report["event"], limitMs = WAIT_MS_MAX): Promise<Received> {
    const matches = (r: Report): boolean => r.part === part && r.event === event;
    const seen = this.#reports.find(matches);
    if (seen !== undefined) return Promise.resolve(seen);
    return new Promise((resolve, reject) => {
      const onReport = (r: Received | Error): void => {
        if (!(r instanceof Error) && !matches(r)) return;
        clearTimeout(timer);
        this.#waiting.delete(onReport);
        if (r instanceof Error) reject(r);
        else resolve(r);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(onReport);
        reject(new Error(`the ${part} was not ${event} after ${limitMs / 1000} s`));
      }, limitMs);
      this.#waiting.add(onReport);
    });
  }

  /** Rejects every pending `wait`, because a part has died. */
  fail(error: Error): void {
    for (const waiter of this.#waiting) waiter(error);
  }

  /** Lets all parts that are ready begin. Returns the time, Unix ms. */
  go(): number {
    const atMs = wallMs();
    for (const socket of this.#held.splice(0)) socket.end();
    return atMs;
  }

  /** Forgets all reports before the next round. */
  reset(): void {
    this.go();
    this.#reports.length = 0;
  }

  close(): void {
    this.#listener.stop(true);
  }

  #take(socket: Bun.Socket<{ text: string }>): void {
    const received = { atMs: wallMs(), ...(JSON.parse(socket.data.text) as Report) };
    if (received.event === "ready") this.#held.push(socket);
    else socket.end();
    this.#reports.push(received);
    for (const waiter of this.#waiting) waiter(received);
  }
}
