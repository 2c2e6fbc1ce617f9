/**
 * Runs the version command of an untrusted program: with stdin closed, a minimal environment and its own process group, limited
 * in time and to OUTPUT_BYTES_MAX of output. The whole group is killed afterwards. Uses no shell; never rejects. (A4)
 */
import type { RejectionCode } from "../image-report.ts";
import { errorCode } from "../inspect/file-observer.ts";
import { printable } from "../inspect/printable.ts";

export interface ProbeCommand {
  /** Absolute. */
  readonly path: string;
  readonly args: readonly string[];
  /** The complete environment: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
}

export type ProbeExit = { readonly code: number } | { readonly signal: string };

type OutputStream = ReadableStream<Uint8Array>;

export interface ProbeProcess {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly exited: Promise<ProbeExit>;
  /** Sends SIGKILL to the whole process group, if it still exists. */
  killGroup(): void;
}

/** Starts a process in its own group, with stdin closed. Throws with the system's `code` when it cannot be started. */
export type SpawnProbe = (command: ProbeCommand) => ProbeProcess;

/** The clock detection needs; the daemon package's `Clock` implements it. */
export interface ProbeClock {
  /** Unix time, ms. */
  nowMs(): number;
  /** Monotonic time, ms. */
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs`, unless cancelled. */
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

/** Runs the command to its end or until a limit is exceeded. A `failed` result has a reason for people, a verb phrase. */
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
  const { promise: exceeded, resolve: exceed } = Promise.withResolvers<"timeout" | "flood">();
  const budget = { bytesLeft: OUTPUT_BYTES_MAX, exceeded: () => exceed("flood") };
  const stdout = new OutputCollector(child.stdout, budget);
  const stderr = new OutputCollector(child.stderr, budget);
  const timer = clock.after(timeoutMs, () => exceed("timeout"));

  let exit: ProbeExit | undefined;
  const ended = child.exited.then(async (status) => {
    exit = status;
    // Processes it leaves behind in its group would keep the pipes open.
    child.killGroup();
    await Promise.all([stdout.ended, stderr.ended]);
    return "ended" as const;
  });
  const outcome = await Promise.race([ended, exceeded]);
  timer.cancel();
  if (outcome !== "ended") {
    child.killGroup();
    stdout.cancel();
    stderr.cancel();
  }
  if (outcome === "flood")
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
      reason: `was killed by ${exit.signal} when asked for its version${quote(stderr.text())}`,
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

/** Starts a real process. */
export const spawnProbe: SpawnProbe = ({ path, args, env }) => {
  const child = Bun.spawn({
    cmd: [path, ...args],
    env: { ...env },
    cwd: "/",
    // With "ignore" Bun would open /dev/null, which a minimal image may lack.
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

/** Collects a stream until it ends or the shared budget is exceeded. What was read before that stays available. */
class OutputCollector {
  readonly ended: Promise<void>;
  /** Stops reading; `ended` resolves soon after. */
  readonly cancel: () => void;
  readonly #chunks: Uint8Array[] = [];

  constructor(stream: OutputStream, budget: Budget) {
    const reader = stream.getReader();
    this.cancel = () => void reader.cancel().catch(() => {});
    this.ended = this.#collect(() => reader.read(), budget);
  }

  text(): string {
    return new TextDecoder().decode(Buffer.concat(this.#chunks));
  }

  async #collect(read: () => Promise<Chunk>, budget: Budget): Promise<void> {
    try {
      for (;;) {
        const { value } = await read();
        if (value === undefined) return;
        if (value.length > budget.bytesLeft) return budget.exceeded();
        budget.bytesLeft -= value.length;
        this.#chunks.push(value);
      }
    } catch {
      // A broken pipe is treated as the end of the output.
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

/** The library named in the error message of glibc's or musl's loader. */
function missingLibrary(stderr: string): string | undefined {
  return /(?:error while loading shared libraries:|Error loading shared library) ([^\s:]+):/.exec(
    stderr,
  )?.[1];
}

function quote(output: string): string {
  const line = printable(output, REASON_CHARS_MAX);
  return line === "" ? "" : `: ${line}`;
}
