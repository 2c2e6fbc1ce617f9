/**
 * Runs a process to its end and returns what it said: bounded in time and in output, with nothing of its group left behind.
 * For poll sensors (A11) and other short commands; supervised processes are Child's.
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

/** How long a killed process may take to go before `runOnce` answers without it. */
const KILL_WAIT_MS = 2000;

/** What to run and within which bounds. */
export interface RunOnceOptions extends SpawnRequest {
  readonly clock: Clock;
  readonly spawn?: Spawn;
  /** From the spawn to its end. */
  readonly timeoutMs: number;
  /** From TERM to KILL when it is over its time or aborted. Default 0: KILL at once. */
  readonly graceMs?: number;
  /** More stdout than this ends the process as a `flood`. */
  readonly stdoutBytesMax: number;
  /** Of stderr the last this many bytes are kept. */
  readonly stderrBytesMax: number;
  /** A piece of stderr as it comes, the receiver's to keep. Must not throw. */
  readonly onStderr?: (chunk: Uint8Array) => void;
  /** Ends the process when aborted. */
  readonly signal?: AbortSignal;
}

/** What a process said before it ended: stdout (≤ `stdoutBytesMax`) and the last bytes of stderr. `ranMs` counts from the spawn. */
export interface RunOutput {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly ranMs: number;
}

/**
 * How it went. `exit`: it ended by itself, with this code or by this signal. `timeout`, `flood`, `aborted`: it was killed for
 * that. `spawn_failed`: it never ran; `errno` and `message` as in SpawnError.
 */
export type RunOnceResult =
  | ({ readonly ended: "exit" } & ProcessExit & RunOutput)
  | ({ readonly ended: "timeout" | "flood" | "aborted" } & RunOutput)
  | { readonly ended: "spawn_failed"; readonly errno: string; readonly message: string };

/** See the head of this file. Never rejects, but for a programmer's error. */
export async function runOnce(options: RunOnceOptions): Promise<RunOnceResult> {
  const { clock, signal, graceMs = 0 } = options;
  const spawnedMs = clock.monotonicMs();
  const output = (): RunOutput => ({
    stdout: concat(pieces, bytes),
    stderr: stderr.bytes(),
    ranMs: clock.monotonicMs() - spawnedMs,
  });
  const pieces: Uint8Array[] = [];
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
      pieces.push(chunk.subarray(0, room));
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
    // Now or never: while the group has members its id cannot be reused, later it can.
    isGone = true;
    child.signalGroup("SIGKILL");
    await outputs.drain();
    return exit;
  });
  const first = await Promise.race([killed.promise, exited]);
  timer.cancel();
  signal?.removeEventListener("abort", abort);
  if (typeof first !== "string") {
    // Too much output may also come out of the pipe after the exit.
    const flooded = await Promise.race([killed.promise, Promise.resolve(undefined)]);
    if (flooded === "flood") return { ended: "flood", ...output() };
    return { ended: "exit", ...first, ...output() };
  }
  if (first !== "flood" && graceMs > 0) {
    child.signalGroup("SIGTERM");
    await settledWithin(clock, graceMs, exited);
  }
  if (!isGone) child.signalGroup("SIGKILL");
  await settledWithin(clock, KILL_WAIT_MS, exited);
  outputs.cut();
  return { ended: first, ...output() };
}

async function settledWithin(clock: Clock, waitMs: number, what: Promise<unknown>): Promise<void> {
  const waited = new AbortController();
  await Promise.race([what, sleep(clock, waitMs, waited.signal).catch(() => {})]);
  waited.abort();
}

function concat(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const only = pieces[0];
  if (pieces.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
