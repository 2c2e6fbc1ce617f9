/** A spawn without processes: tests feed output, end runs and see the signals. Goes with FakeClock. */
import type { ByteSource } from "./byte-source.ts";
import {
  type GroupSignal,
  type ProcessExit,
  type Spawn,
  type SpawnedProcess,
  SpawnError,
  type SpawnRequest,
} from "./spawn.ts";

const FIRST_PID = 10_001;

/** Hand its `spawn` to what is tested. */
export class FakeSpawn {
  /** Every process begun, oldest first. */
  readonly processes: FakeProcess[] = [];
  /** Called with each new process, before its parent sees it: the place to script what it does. */
  onSpawn: ((process: FakeProcess) => void) | undefined;
  readonly #failures: SpawnError[] = [];

  readonly spawn: Spawn = (request) => {
    const failure = this.#failures.shift();
    if (failure !== undefined) throw failure;
    const process = new FakeProcess(FIRST_PID + this.processes.length, request);
    this.processes.push(process);
    this.onSpawn?.(process);
    return process;
  };

  /** The newest process. Throws when there is none. */
  get last(): FakeProcess {
    const last = this.processes.at(-1);
    if (last === undefined) throw new Error("nothing was spawned");
    return last;
  }

  /** Makes the next `times` spawns fail. */
  fail(times = 1, errno = "ENOENT"): void {
    for (let i = 0; i < times; i++)
      this.#failures.push(new SpawnError(errno, `told to fail with ${errno}`));
  }
}

/** A process that does what the test says. Left alone it runs for ever and ignores signals. */
export class FakeProcess implements SpawnedProcess {
  readonly pid: number;
  readonly request: SpawnRequest;
  readonly stdout = new FakeSource();
  readonly stderr = new FakeSource();
  readonly exited: Promise<ProcessExit>;
  /** Every signal sent to its group, those after its exit too. */
  readonly signals: GroupSignal[] = [];
  /** Called with each signal; `(_, process) => process.exit(0)` makes it obedient. */
  onSignal: ((signal: GroupSignal, process: FakeProcess) => void) | undefined;
  readonly #exit = Promise.withResolvers<ProcessExit>();

  constructor(pid: number, request: SpawnRequest) {
    this.pid = pid;
    this.request = request;
    this.exited = this.#exit.promise;
  }

  signalGroup(signal: GroupSignal): void {
    this.signals.push(signal);
    this.onSignal?.(signal, this);
  }

  /** Ends it with a code or by a signal; its outputs end too, unless something else `holdsOutputs`. */
  exit(how: number | string, options: { readonly holdsOutputs?: boolean } = {}): void {
    if (options.holdsOutputs !== true) {
      this.stdout.end();
      this.stderr.end();
    }
    this.#exit.resolve(
      typeof how === "number" ? { code: how, signal: undefined } : { code: undefined, signal: how },
    );
  }
}

/** An output that holds what was written until it is read. */
export class FakeSource implements ByteSource {
  readonly #chunks: Uint8Array[] = [];
  #waiting: ((chunk: Uint8Array | undefined) => void) | undefined;
  #ended = false;
  #closed = false;

  /** How many pieces were written and not read yet. */
  get unread(): number {
    return this.#chunks.length;
  }

  /** Whether the reader gave it up. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Writes one piece. */
  write(data: string | Uint8Array): void {
    const chunk = typeof data === "string" ? new TextEncoder().encode(data) : data;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) waiting(chunk);
    else if (!this.#closed) this.#chunks.push(chunk);
  }

  /** Closes the writing end. */
  end(): void {
    this.#ended = true;
    this.#waiting?.(undefined);
    this.#waiting = undefined;
  }

  read(): Promise<Uint8Array | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    const chunk = this.#chunks.shift();
    if (chunk !== undefined || this.#ended) return Promise.resolve(chunk);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  close(): void {
    this.#closed = true;
    this.#chunks.length = 0;
    this.end();
  }
}
