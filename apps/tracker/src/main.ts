/** `fleet-tracker`: builds the parts, connects them, and turns signals into an orderly end. (T10) */
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

/** Exit statuses, those of sysexits(3). */
const EXIT_USAGE = 64;
const EXIT_NO_INPUT = 66;
const EXIT_UNAVAILABLE = 69;
const EXIT_IO = 74;
const EXIT_CONFIG = 78;

/** At a stop: how long what has arrived may take to be read, and events to be written. */
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
    case "refuse":
      return fail(EXIT_USAGE, `${options.message}\n${USAGE}`);
    case "run":
      return run(options, await loadConfig(options));
  }
}

/** The config file's values with the command line's over them; ends the process when they are wrong. */
async function loadConfig(options: RunOptions): Promise<TrackerConfig> {
  const { configPath: path, blah2ConfigPath } = options;
  const result = parseConfig(path === undefined ? {} : await readYaml(path));
  if (!result.ok) fail(EXIT_CONFIG, describe(path ?? "", result.problems));
  if (result.ignored.length > 0) {
    say(`config: ${path}: not used by this tracker: ${result.ignored.join(", ")}`);
  }
  const { config } = result;
  const { detectionWindow = config.detectionWindow } = options;
  if (blah2ConfigPath === undefined) return { ...config, detectionWindow };
  const centerFrequencyHz = blah2CenterFrequency(await readYaml(blah2ConfigPath));
  if (centerFrequencyHz === undefined) {
    fail(EXIT_CONFIG, `config: ${blah2ConfigPath}: capture.fc is no frequency in Hz`);
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

function describe(path: string, problems: readonly ConfigProblem[]): string {
  return problems
    .map((problem) => `config: ${path}: ${problem.path} ${problem.message}`)
    .join("\nfleet-tracker: ");
}

async function run(options: RunOptions, config: TrackerConfig): Promise<void> {
  const output = openOutput(options.output);
  const session = new Session(config, output, say, options.explain ? say : undefined);
  output.onFailure = (cause) => {
    say(session.summary());
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
    say(`listening on ${host}:${input.start(host, port)}`);
  } catch (error) {
    fail(EXIT_UNAVAILABLE, `cannot listen on ${host}:${port}: ${messageOf(error)}`);
  }
}

/** Feeds what clients send to the session. */
function connect(session: Session): TcpInput {
  return new TcpInput(systemClock, {
    onClient: () => session.counters.clients++,
    onData: (chunk) => session.push(chunk),
    onClientEnd: () => session.endClient(),
  });
}

/** Calls `stop` at the first SIGINT or SIGTERM; later ones change nothing, for the stop has a deadline. */
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
  // A last line need not end with LF.
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

/** Writes what is left, reports, and ends the process. */
async function finish(session: Session, output: EventOutput): Promise<never> {
  const timer = systemClock.after(FLUSH_MS_MAX, () => end());
  const end = (): never => {
    timer.cancel();
    const lost = output.pendingBytes === 0 ? "" : ` unwritten_bytes=${output.pendingBytes}`;
    say(session.summary() + lost);
    process.exit(0);
  };
  await output.untilEmpty();
  return end();
}

/** One line on stderr, written before this returns. */
function say(line: string): void {
  try {
    writeSync(STDERR, `fleet-tracker: ${line}\n`);
  } catch {
    // Nobody reads it.
  }
}

function fail(status: number, message: string): never {
  say(message.trimEnd());
  process.exit(status);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

await main();
