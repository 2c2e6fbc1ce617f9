/** The `fleet-tracker` command: constructs and connects the parts, and stops them in order on a signal. (T10) */
import { openSync, writeSync } from "node:fs";
import { systemClock } from "@fleet/daemon";
import { VERSION } from "@fleet/daemon/version";
import {
  blah2CenterFrequency,
  type ConfigProblem,
  parseConfig,
  type TrackerConfig,
} from "./config.ts";
import { EventOutput } from "./events/event-output.ts";
import { type Options, parseOptions, USAGE } from "./options.ts";
import { Session } from "./session.ts";
import { TcpInput } from "./input/tcp-input.ts";

/** Exit codes from sysexits(3). */
const EXIT_USAGE = 64;
const EXIT_NO_INPUT = 66;
const EXIT_UNAVAILABLE = 69;
const EXIT_IO = 74;
const EXIT_CONFIG = 78;

/** Limits at a stop for reading the data that has arrived, and for writing the events. */
const DRAIN_MS_MAX = 1000;
const FLUSH_MS_MAX = 2000;

const STDERR = 2;
const LF = 10;

type RunOptions = Extract<Options, { readonly do: "run" }>;

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  switch (options.do) {
    case "help":
      process.stdout.write(USAGE);
      return;
    case "version":
      process.stdout.write(`fleet-tracker ${VERSION}\n`);
      return;
    case "usage_error":
      return fail(EXIT_USAGE, `${options.message}\n${USAGE}`);
    case "run":
      return run(options, await loadConfig(options));
  }
}

/** Reads the config file and applies the options of the command line; exits if a value is invalid. */
async function loadConfig(options: RunOptions): Promise<TrackerConfig> {
  const { configPath: path, blah2ConfigPath } = options;
  const result = parseConfig(path === undefined ? {} : await readYaml(path));
  if (!result.ok) fail(EXIT_CONFIG, formatProblems(path ?? "", result.problems));
  if (result.ignored.length > 0) {
    print(`config: ${path}: ignored, not used by this tracker: ${result.ignored.join(", ")}`);
  }
  const { config } = result;
  const { detectionWindow = config.detectionWindow } = options;
  if (blah2ConfigPath === undefined) return { ...config, detectionWindow };
  const centerFrequencyHz = blah2CenterFrequency(await readYaml(blah2ConfigPath));
  if (centerFrequencyHz === undefined) {
    fail(EXIT_CONFIG, `config: ${blah2ConfigPath}: capture.fc must be a frequency in Hz`);
  }
  return { ...config, detectionWindow, centerFrequencyHz };
}

async function readYaml(path: string): Promise<unknown> {
  try {
    return Bun.YAML.parse(await Bun.file(path).text());
  } catch (error) {
    return fail(EXIT_CONFIG, `config: ${path}: ${messageOf(error)}`);
  }
}

function formatProblems(path: string, problems: readonly ConfigProblem[]): string {
  return problems
    .map((problem) => `config: ${path}: ${problem.path} ${problem.message}`)
    .join("\nfleet-tracker: ");
}

async function run(options: RunOptions, config: TrackerConfig): Promise<void> {
  const output = openOutput(options.output);
  const session = new Session(config, output, print, options.explain ? print : undefined);
  output.onFailure = (cause) => {
    print(session.summary());
    fail(EXIT_IO, `cannot write events: ${messageOf(cause)}`);
  };
  if (options.input.from === "file") {
    await readFile(options.input.path, session);
    await finish(session, output);
    return;
  }
  const { host = config.tcp.host, port = config.tcp.port } = options.input;
  const input = connect(session);
  stopOnSignals(async () => {
    await input.stop(systemClock.monotonicMs() + DRAIN_MS_MAX);
    await finish(session, output);
  });
  try {
    print(`listening on ${host}:${input.start(host, port)}`);
  } catch (error) {
    fail(EXIT_UNAVAILABLE, `cannot listen on ${host}:${port}: ${messageOf(error)}`);
  }
}

/** Passes the data of TCP clients to the session. */
function connect(session: Session): TcpInput {
  return new TcpInput(systemClock, {
    onClient: () => session.counters.clients++,
    onData: (chunk) => session.push(chunk),
    onClientEnd: () => session.endClient(),
  });
}

/** Calls `stop` at the first SIGINT or SIGTERM. Later signals are ignored, since the stop has a deadline. */
function stopOnSignals(stop: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      void stop();
    });
  }
}

async function readFile(path: string, session: Session): Promise<void> {
  try {
    for await (const chunk of Bun.file(path).stream()) {
      await session.push(chunk);
    }
  } catch (error) {
    fail(EXIT_NO_INPUT, `cannot read ${path}: ${messageOf(error)}`);
  }
  // The last line may lack its LF.
  await session.push(Uint8Array.of(LF));
}

function openOutput(path: string): EventOutput {
  try {
    return new EventOutput(
      path === "-" ? Bun.stdout.writer() : Bun.file(openSync(path, "w")).writer(),
    );
  } catch (error) {
    fail(EXIT_IO, `cannot write ${path}: ${messageOf(error)}`);
  }
}

/** Writes the remaining events, prints the summary, and exits. */
async function finish(session: Session, output: EventOutput): Promise<never> {
  const timer = systemClock.after(FLUSH_MS_MAX, () => end());
  const end = (): never => {
    timer.cancel();
    const lost = output.pendingBytes === 0 ? "" : ` unwritten_bytes=${output.pendingBytes}`;
    print(session.summary() + lost);
    process.exit(0);
  };
  await output.untilEmpty();
  return end();
}

/** Writes one line to stderr synchronously. */
function print(line: string): void {
  try {
    writeSync(STDERR, `fleet-tracker: ${line}\n`);
  } catch {
    // stderr is closed.
  }
}

function fail(status: number, message: string): never {
  print(message.trimEnd());
  process.exit(status);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

await main();
