/**
 * How the parts of the frame bench, each a process of its own, and the bench speak: a part sends one line of JSON over a
 * loopback connection, which the bench closes once the part may go on. One that is ready waits so for `go`.
 */

/** What a part reports. `figures` is what it measured itself, if it did. */
export interface Report {
  readonly part: "sink" | "source" | "sensor" | "latency";
  readonly event: "ready" | "first" | "done";
  /** Unix ms, fractional; absent from a shell script's. */
  readonly atMs?: number;
  readonly figures?: readonly number[];
}

const WAIT_MS_MAX = 120_000;

/** Unix ms with the resolution of the monotonic clock, comparable between processes. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Sends one report and resolves when the bench has closed the connection. */
export async function report(port: number, what: Omit<Report, "atMs">): Promise<void> {
  const line = JSON.stringify({ ...what, atMs: nowMs() } satisfies Report);
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

/** A report as the bench has it, with the time of its arrival where it had none. */
export type Received = Report & { readonly atMs: number };

/** Collects reports; `wait` resolves with the first that matches, past or future. */
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

  /** Rejects after `limitMs`: a bench that hangs is worse than one that fails. */
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

  /** Ends all waiting: a part has died. */
  fail(error: Error): void {
    for (const waiter of this.#waiting) waiter(error);
  }

  /** Lets all that are ready begin, and says when that was. */
  go(): number {
    const atMs = nowMs();
    for (const socket of this.#held.splice(0)) socket.end();
    return atMs;
  }

  /** Forgets what was reported, for the next round. */
  reset(): void {
    this.go();
    this.#reports.length = 0;
  }

  close(): void {
    this.#listener.stop(true);
  }

  #take(socket: Bun.Socket<{ text: string }>): void {
    const received = { atMs: nowMs(), ...(JSON.parse(socket.data.text) as Report) };
    if (received.event === "ready") this.#held.push(socket);
    else socket.end();
    this.#reports.push(received);
    for (const waiter of this.#waiting) waiter(received);
  }
}
