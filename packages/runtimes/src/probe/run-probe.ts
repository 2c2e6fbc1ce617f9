/**
 * Runs one version command, of a program nobody vouches for. It gets a stdin that has ended, an almost empty environment
 * and a process group of its own, and no more than its time and OUTPUT_BYTES_MAX; then the group is killed. Never through a
 * shell; never throws. (A4)
 */
import type { RejectionCode } from "../image-report.ts";
import { errorCode } from "../inspect/file-observer.ts";
import { printable } from "../inspect/printable.ts";

export interface ProbeCommand {
  /** Absolute. */
  readonly path: string;
  readonly args: readonly string[];
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
}

export type ProbeExit = { readonly code: number } | { readonly signal: string };

type OutputStream = ReadableStream<Uint8Array>;

export interface ProbeProcess {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly exited: Promise<ProbeExit>;
  /** SIGKILL to its whole process group; does nothing when there is none any more. */
  killGroup(): void;
}

/** Starts a process in a group of its own, with a stdin that has ended. Throws when it cannot be started, with the system's `code`. */
export type SpawnProbe = (command: ProbeCommand) => ProbeProcess;

/** What detection needs of time; the daemon package's `Clock` is one. */
export interface ProbeClock {
  /** Unix time, ms. */
  nowMs(): number;
  /** Never goes back, ms. */
  monotonicMs(): number;
  /** Calls `fn` once, `delayMs` from now, unless cancelled before. */
  after(delayMs: number, fn: () => void): { cancel(): void };
}

export interface ProbeLimits {
  readonly spawn: SpawnProbe;
  readonly clock: ProbeClock;
  readonly timeoutMs: number;
}

export type ProbeResult =
  | { readonly at: "done"; readonly stdout: string; readonly stderr: string }
  | { readonly at: "failed"; readonly code: RejectionCode; readonly reason: string };

/** Bytes of stdout and stderr together. */
export const OUTPUT_BYTES_MAX = 64 * 1024;

const REASON_CHARS_MAX = 200;

export async function runProbe(
  command: ProbeCommand,
  { spawn, clock, timeoutMs }: ProbeLimits,
): Promise<ProbeResult> {
  let child: ProbeProcess;
  try {
    child = spawn(command);
  } catch (error) {
    return {
      at: "failed",
      code: "spawn_failed",
      reason: `could not be started (${errorCode(error)})`,
    };
  }
  const { promise: cut, resolve: cutShort } = Promise.withResolvers<"timeout" | "flood">();
  const budget = { bytesLeft: OUTPUT_BYTES_MAX, exceeded: () => cutShort("flood") };
  const stdout = new Gatherer(child.stdout, budget);
  const stderr = new Gatherer(child.stderr, budget);
  const timer = clock.after(timeoutMs, () => cutShort("timeout"));

  let exit: ProbeExit | undefined;
  const ended = child.exited.then(async (how) => {
    exit = how;
    // What it left behind in its group would hold the pipes open.
    child.killGroup();
    await Promise.all([stdout.ended, stderr.ended]);
    return "ended" as const;
  });
  const how = await Promise.race([ended, cut]);
  timer.cancel();
  if (how !== "ended") {
    child.killGroup();
    stdout.abandon();
    stderr.abandon();
  }
  if (how === "flood")
    return {
      at: "failed",
      code: "flood",
      reason: `wrote more than ${OUTPUT_BYTES_MAX / 1024} KiB when asked for its version`,
    };
  if (exit === undefined)
    return {
      at: "failed",
      code: "timeout",
      reason: `did not answer within ${timeoutMs} ms when asked for its version`,
    };
  if ("signal" in exit)
    return {
      at: "failed",
      code: "crashed",
      reason: `was ended by ${exit.signal} when asked for its version${quote(stderr.text())}`,
    };
  const library = missingLibrary(stderr.text());
  if (exit.code !== 0 && library !== undefined)
    return {
      at: "failed",
      code: "library_missing",
      reason: `needs the library ${library}, which its loader does not find`,
    };
  if (exit.code !== 0)
    return {
      at: "failed",
      code: "failed",
      reason: `exited with ${exit.code} when asked for its version${quote(stderr.text() || stdout.text())}`,
    };
  return { at: "done", stdout: stdout.text(), stderr: stderr.text() };
}

/** Starts it for real. */
export const spawnProbe: SpawnProbe = ({ path, args, env }) => {
  const child = Bun.spawn({
    cmd: [path, ...args],
    env: { ...env },
    cwd: "/",
    // Not "ignore": for that Bun opens /dev/null, which a bare root may lack.
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
  });
  void child.stdin.end();
  return {
    stdout: child.stdout,
    stderr: child.stderr,
    exited: child.exited.then((code): ProbeExit => {
      const signal = child.signalCode;
      return signal === null ? { code } : { signal: String(signal) };
    }),
    killGroup() {
      child.unref();
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // The group is gone.
      }
    },
  };
};

/** Collects a stream until it ends or the shared budget is used up; what came before that stays readable. */
class Gatherer {
  readonly ended: Promise<void>;
  /** Stops reading; `ended` resolves soon after. */
  readonly abandon: () => void;
  readonly #chunks: Uint8Array[] = [];

  constructor(stream: OutputStream, budget: Budget) {
    const reader = stream.getReader();
    this.abandon = () => void reader.cancel().catch(() => {});
    this.ended = this.#gather(() => reader.read(), budget);
  }

  text(): string {
    return new TextDecoder().decode(Buffer.concat(this.#chunks));
  }

  async #gather(read: () => Promise<Chunk>, budget: Budget): Promise<void> {
    try {
      for (;;) {
        const { value } = await read();
        if (value === undefined) return;
        if (value.length > budget.bytesLeft) return budget.exceeded();
        budget.bytesLeft -= value.length;
        this.#chunks.push(value);
      }
    } catch {
      // A broken pipe ends the output like any other end.
    }
  }
}

interface Chunk {
  readonly value?: Uint8Array | undefined;
}

interface Budget {
  bytesLeft: number;
  readonly exceeded: () => void;
}

/** What the loaders of glibc and of musl say. */
function missingLibrary(stderr: string): string | undefined {
  return /(?:error while loading shared libraries:|Error loading shared library) ([^\s:]+):/.exec(
    stderr,
  )?.[1];
}

function quote(output: string): string {
  const line = printable(output, REASON_CHARS_MAX);
  return line === "" ? "" : `: ${line}`;
}
