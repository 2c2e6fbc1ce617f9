/** The orders of a source or sink. The bench passes them in a file, whose path is the only argument. */
import { readFileSync } from "node:fs";

/** The protocols: agent sessions, the client protocols of the other servers, and plain lines. */
export type Wire = "session" | "nats" | "jetstream" | "mqtt" | "lines";

/** The orders of a round's source and sink, which open a connection for each stream. */
export interface Orders {
  readonly controlPort: number;
  readonly wire: Wire;
  /** The server's port. */
  readonly port: number;
  /** The port on which the sink listens for stand-in trackers, or for plain lines. */
  readonly sinkPort: number;
  readonly streams: number;
  /** A file with `frames` frames of `bytes` bytes in total, which every stream sends `repeats` times. */
  readonly file: string;
  readonly frames: number;
  readonly bytes: number;
  readonly repeats: number;
  /** For sessions: the hello of each stream. */
  readonly hellos: readonly object[];
}

/** Reads this process's orders. */
export function readOrders(): Orders {
  return JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Orders;
}

/** Prints a problem and exits, which fails the round. */
export function fail(problem: string): never {
  console.error(`bench: ${problem}`);
  process.exit(1);
}
