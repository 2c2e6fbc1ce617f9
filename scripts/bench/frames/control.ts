/**
 * How the parts of the frame bench, each a process of its own, tell the bench when they are done: one line of JSON over a
 * loopback connection. Times are `Date.now()`-like ms of the one host clock.
 */

/** What a part reports. */
export interface Report {
  readonly part: "sink" | "sender" | "publisher" | "subscriber";
  readonly event: "ready" | "done";
  /** Unix ms, fractional. */
  readonly atMs: number;
  readonly pid: number;
}

/** The variables the parts find their orders in. */
export interface Orders {
  readonly BENCH_CONTROL_PORT: string;
  /** Bytes of the wire after which a receiving part is done. */
  readonly BENCH_EXPECT_BYTES: string;
}

/** Unix ms with the resolution of the monotonic clock, comparable between processes. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Sends one report and resolves when it is out. */
export async function report(part: Report["part"], event: Report["event"]): Promise<void> {
  const line = JSON.stringify({ part, event, atMs: nowMs(), pid: process.pid } satisfies Report);
  const { promise, resolve } = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port: Number(process.env["BENCH_CONTROL_PORT"]),
    socket: {
      open(socket) {
        socket.write(`${line}\n`);
        socket.end();
      },
      data() {},
      close: () => resolve(),
    },
  });
  await promise;
}

/** Collects reports; `wait` resolves with the first that matches, past or future. */
export class Control {
  readonly #reports: Report[] = [];
  readonly #waiting: ((r: Report) => void)[] = [];
  readonly #listener = Bun.listen<{ text: string }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { text: "" };
      },
      data(socket, chunk) {
        socket.data.text += chunk.toString("utf8");
      },
      close: (socket) => this.#take(JSON.parse(socket.data.text) as Report),
    },
  });

  get port(): number {
    return this.#listener.port;
  }

  /** Rejects after `limitMs`: a bench that hangs is worse than one that fails. */
  wait(part: Report["part"], event: Report["event"], limitMs = 120_000): Promise<Report> {
    const matches = (r: Report): boolean => r.part === part && r.event === event;
    const seen = this.#reports.find(matches);
    if (seen !== undefined) return Promise.resolve(seen);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`the ${part} was not ${event} after ${limitMs / 1000} s`)),
        limitMs,
      );
      this.#waiting.push((r) => {
        if (!matches(r)) return;
        clearTimeout(timer);
        resolve(r);
      });
    });
  }

  /** Forgets what was reported, for the next round. */
  reset(): void {
    this.#reports.length = 0;
  }

  close(): void {
    this.#listener.stop(true);
  }

  #take(r: Report): void {
    this.#reports.push(r);
    for (const waiter of this.#waiting) waiter(r);
  }
}
