/** The demo from start to end: prepare, start, show or check, stop. */
import { BuildError, buildBinaries } from "../lib/build-binaries.ts";
import { missingParts } from "./checks.ts";
import { DemoError, DemoFleet } from "./fleet.ts";
import { LiveScreen } from "./live-screen.ts";
import type { DemoOptions } from "./options.ts";
import { print, step } from "../harness/output.ts";
import { portProblems } from "../harness/ports.ts";
import { isRunning, launchersOf } from "../harness/proc.ts";
import { tailOf } from "../harness/logged-process.ts";
import { renderLine, renderScreen } from "./screen.ts";
import { StopRequest } from "../harness/stop-request.ts";
import type { DemoView } from "./view.ts";

const SCREEN_MS = 1000;
const LINE_MS = 5000;
const LAUNCHER_CHECK_MS = 500;
/** Width of printed tables, which do not go to the live screen. */
const TEXT_WIDTH = 120;

/** Runs the demo. Returns the exit code. Leaves neither processes nor, without `--keep`, files behind. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const { httpPort, framesPort } = options;
  const taken = portProblems([
    { port: httpPort, purpose: "HTTP", flag: "--http-port" },
    { port: framesPort, purpose: "frames", flag: "--frames-port" },
  ]);
  for (const problem of taken) console.error(problem);
  if (taken.length > 0) return 1;
  if (!(await prepare())) return 1;

  const screen = new LiveScreen(process.stdout, !process.env["NO_COLOR"]);
  let fleet: DemoFleet | undefined;
  const stop = new StopRequest((exitCode) => {
    fleet?.kill();
    screen.close();
    process.exit(exitCode);
  });
  // `npx` does not forward every signal, so stop when it has ended: the user has no other way to stop us.
  const launchers = launchersOf("demo");
  const launcherCheck = setInterval(() => {
    if (!launchers.every(isRunning)) stop.request("SIGTERM");
  }, LAUNCHER_CHECK_MS);
  // The reader of our output has gone (`| head`).
  process.stdout.on("error", () => stop.request("SIGTERM"));
  try {
    fleet = new DemoFleet(options);
    return await show(fleet, options, stop, screen);
  } catch (error) {
    screen.close();
    if (!(error instanceof DemoError)) throw error;
    console.error(error.message);
    if (error.process !== undefined) printLogTail(error.process);
    return 1;
  } finally {
    clearInterval(launcherCheck);
    screen.close();
    if (fleet !== undefined) await end(fleet, options);
  }
}

/** Compiles the binaries. Returns false if that fails. */
async function prepare(): Promise<boolean> {
  try {
    await step("Compiling the agent, the coordinator and the tracker", () =>
      buildBinaries([], { dynamicIfNeeded: true }),
    );
    return true;
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(`\n${error.message}`);
    return false;
  }
}

async function show(
  fleet: DemoFleet,
  options: DemoOptions,
  stop: StopRequest,
  screen: LiveScreen,
): Promise<number> {
  for (const node of fleet.nodes)
    if (node.at === "skipped") print(`Skipping ${node.name}: ${node.reason}.`);
  print("Starting a coordinator with an empty database, then the nodes");
  await fleet.start(stop);
  const view = await watch(fleet, options, stop, screen);
  screen.close();
  print(`\n${renderScreen(view, TEXT_WIDTH).join("\n")}\n`);
  if (!options.once) return stop.signal === "SIGINT" ? 0 : (stop.exitCode ?? 0);
  return stop.exitCode ?? report(view, fleet);
}

/** Shows the state until the time is up or a stop is requested. Returns the last state. */
async function watch(
  fleet: DemoFleet,
  { once, seconds }: DemoOptions,
  stop: StopRequest,
  screen: LiveScreen,
): Promise<DemoView> {
  const isLive = process.stdout.isTTY && !once;
  if (!isLive) print("Press Ctrl-C to stop everything.");
  const periodMs = isLive ? SCREEN_MS : LINE_MS;
  const endMs = seconds === undefined ? Infinity : performance.now() + seconds * 1000;
  for (;;) {
    const view = await fleet.observe();
    const leftMs = endMs - performance.now();
    if (leftMs <= 0 || stop.signal !== undefined) return view;
    if (isLive)
      screen.draw([...renderScreen(view, screen.width), "", "Press Ctrl-C to stop everything."]);
    else if (view.elapsedMs > SCREEN_MS) print(renderLine(view));
    await stop.within(Math.min(periodMs, leftMs));
  }
}

/** Prints what is missing, with the logs that may explain it. Returns the exit code. */
function report(view: DemoView, fleet: DemoFleet): number {
  const missing = missingParts(view);
  const skipped = view.nodes.filter(({ node }) => node.at === "skipped").length;
  if (missing.length === 0 && view.problem === undefined) {
    const except = skipped === 0 ? "" : `, except ${skipped} that this machine cannot run`;
    print(`All is well: every node is LIVE and has confirmed tracks${except}.`);
    return 0;
  }
  console.error("Missing:");
  if (view.problem !== undefined) console.error(`  coordinator: ${view.problem}`);
  for (const { node, what } of missing) console.error(`  ${node}: ${what}`);
  for (const name of new Set(missing.map(({ node }) => node))) {
    const agent = fleet.agentOf(name);
    if (agent !== undefined) printLogTail(agent);
  }
  return 1;
}

function printLogTail({
  name,
  logFile,
}: {
  readonly name: string;
  readonly logFile: string;
}): void {
  console.error(`\nLast lines of the log of ${name}:\n${tailOf(logFile)}`);
}

async function end(fleet: DemoFleet, { keep }: DemoOptions): Promise<void> {
  await step("Stopping the agents, then the coordinator", () => fleet.stop());
  if (keep) print(`Data and logs: ${fleet.workspace.dir}`);
}
