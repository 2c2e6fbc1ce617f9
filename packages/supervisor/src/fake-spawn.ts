/** A spawn without processes: tests write the output, end the runs and inspect the signals. To be used with FakeClock. */
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

/** Its `spawn` replaces `systemSpawn` in the tested code. */
export class FakeSpawn {
  /** All spawned processes, oldest first. */
  readonly processes: FakeProcess[] = [];
  /** Called with each new process before `spawn` returns, to script its behaviour. */
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
      this.#failures.push(new SpawnError(errno, `failing with ${errno} as requested by the test`));
  }
}

/** A process controlled by the test. By default it runs forever and ignores signals. */
export class FakeProcess implements SpawnedProcess {
  readonly pid: number;
  readonly request: SpawnRequest;
  readonly stdout = new FakeSource();
  readonly stderr = new FakeSource();
  readonly exited: Promise<ProcessExit>;
  /** All signals sent to its group, including those after its exit. */
  readonly signals: GroupSignal[] = [];
  /** Called with each signal; `(_, process) => process.exit(0)` makes it exit on a signal. */
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

  /** Ends it with a code or by a signal. Its outputs end too, unless `holdsOutputs` simulates another process that keeps them open. */
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

/** An output that buffers what the test writes. */
export class FakeSource implements ByteSource {
  readonly #chunks: Uint8Array[] = [];
  #waiting: ((chunk: Uint8Array | undefined) => void) | undefined;
  #ended = false;
  #closed = false;

  /** Number of chunks written but not read yet. */
  get unread(): number {
    return this.#chunks.length;
  }

  /** Whether the reader has closed it. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Writes a chunk. */
  write(data: string | Uint8Array): void {
    const chunk = typeof data === "string" ? new TextEncoder().encode(data) : data;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) waiting(chunk);
    else if (!this.#closed) this.#chunks.push(chunk);
  }

  /** Ends the output. */
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
