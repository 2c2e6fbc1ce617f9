/**
 * Runs a process to its end and returns its output. Time and output are bounded, and no member of its group is left behind.
 * For poll sensors (A11) and other short commands; Child supervises long-running processes.
 */
import { type Clock, sleep } from "@fleet/daemon";

import { Outputs } from "./outputs.ts";
import {
  type ProcessExit,
  type Spawn,
  SpawnError,
  type SpawnRequest,
  systemSpawn,
} from "./spawn.ts";
import { StderrRing } from "./stderr-ring.ts";

/** How long `runOnce` waits for a killed process to exit before it returns without it. */
const KILL_WAIT_MS = 2000;

/** What to run, and its limits. */
export interface RunOnceOptions extends SpawnRequest {
  readonly clock: Clock;
  readonly spawn?: Spawn;
  /** Time limit, from the spawn. */
  readonly timeoutMs: number;
  /** Time between TERM and KILL after a timeout or an abort. Default 0: KILL immediately. */
  readonly graceMs?: number;
  /** A process that writes more stdout than this is killed as a `flood`. */
  readonly stdoutBytesMax: number;
  /** Number of the last bytes of stderr that are kept. */
  readonly stderrBytesMax: number;
  /** Receives each chunk of stderr, which it may keep. Must not throw. */
  readonly onStderr?: (chunk: Uint8Array) => void;
  /** Kills the process when aborted. */
  readonly signal?: AbortSignal;
}

/** The output of a process: stdout (≤ `stdoutBytesMax`) and the last bytes of stderr. `ranMs` is the time since the spawn. */
export interface RunOutput {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly ranMs: number;
}

/**
 * The outcome. `exit`: the process ended by itself, with a code or by a signal. `timeout`, `flood`, `aborted`: why it was
 * killed. `spawn_failed`: it never ran; `errno` and `message` are those of SpawnError.
 */
export type RunOnceResult =
  | ({ readonly ended: "exit" } & ProcessExit & RunOutput)
  | ({ readonly ended: "timeout" | "flood" | "aborted" } & RunOutput)
  | { readonly ended: "spawn_failed"; readonly errno: string; readonly message: string };

/** Runs the process and waits for its end. Rejects only for programmer errors. */
export async function runOnce(options: RunOnceOptions): Promise<RunOnceResult> {
  const { clock, signal, graceMs = 0 } = options;
  const spawnedMs = clock.monotonicMs();
  const output = (): RunOutput => ({
    stdout: concat(chunks, bytes),
    stderr: stderr.bytes(),
    ranMs: clock.monotonicMs() - spawnedMs,
  });
  const chunks: Uint8Array[] = [];
  const stderr = new StderrRing(Math.max(1, options.stderrBytesMax));
  let bytes = 0;
  if (signal?.aborted) return { ended: "aborted", ...output() };

  let child;
  try {
    child = (options.spawn ?? systemSpawn)(options);
  } catch (error) {
    if (!(error instanceof SpawnError)) throw error;
    return { ended: "spawn_failed", errno: error.errno, message: error.message };
  }
  const killed = Promise.withResolvers<"timeout" | "flood" | "aborted">();
  const outputs = new Outputs(clock, child, {
    onStdout: (chunk) => {
      const room = options.stdoutBytesMax - bytes;
      if (chunk.byteLength > room) killed.resolve("flood");
      chunks.push(chunk.subarray(0, room));
      bytes += Math.min(chunk.byteLength, room);
    },
    onStderr: (chunk) => {
      stderr.push(chunk);
      options.onStderr?.(chunk);
    },
  });
  const timer = clock.after(options.timeoutMs, () => killed.resolve("timeout"));
  const abort = (): void => killed.resolve("aborted");
  signal?.addEventListener("abort", abort, { once: true });

  let isGone = false;
  const exited = child.exited.then(async (exit) => {
    isGone = true;
    // The group must be killed now: its id can be reused as soon as the group is empty.
    child.signalGroup("SIGKILL");
    await outputs.drain();
    return exit;
  });
  const first = await Promise.race([killed.promise, exited]);
  timer.cancel();
  signal?.removeEventListener("abort", abort);
  if (typeof first !== "string") {
    // The output may also exceed its limit when the pipe is drained after the exit.
    const flooded = await Promise.race([killed.promise, Promise.resolve(undefined)]);
    if (flooded === "flood") return { ended: "flood", ...output() };
    return { ended: "exit", ...first, ...output() };
  }
  if (first !== "flood" && graceMs > 0) {
    child.signalGroup("SIGTERM");
    await waitAtMost(clock, graceMs, exited);
  }
  if (!isGone) child.signalGroup("SIGKILL");
  await waitAtMost(clock, KILL_WAIT_MS, exited);
  outputs.close();
  return { ended: first, ...output() };
}

async function waitAtMost(clock: Clock, waitMs: number, promise: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  await Promise.race([promise, sleep(clock, waitMs, timer.signal).catch(() => {})]);
  timer.abort();
}

function concat(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const only = chunks[0];
  if (chunks.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}
