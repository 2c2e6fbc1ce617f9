/** What the bench tells its sources and sinks, in a file that is their one argument. */
import { readFileSync } from "node:fs";

/** The ways frames travel here: agent sessions, the client protocols of the servers beside, and bare lines. */
export type Wire = "session" | "nats" | "jetstream" | "mqtt" | "lines";

/** Orders of one source and one sink, each with `streams` connections. */
export interface Orders {
  readonly controlPort: number;
  readonly wire: Wire;
  /** The server's. */
  readonly port: number;
  /** Where the sink listens: for stand-ins of trackers to name the ports they were given, or for bare lines. */
  readonly sinkPort: number;
  readonly streams: number;
  /** A file of frames, which every stream sends `repeats` times. */
  readonly file: string;
  readonly frames: number;
  readonly bytes: number;
  readonly repeats: number;
  /** For sessions: the hello of each stream. */
  readonly hellos: readonly object[];
}

/** Reads the orders of this process. */
export function readOrders(): Orders {
  return JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Orders;
}

/** What a part finds in its way ends the round. */
export function fail(what: string): never {
  console.error(`bench: ${what}`);
  process.exit(1);
}
