/**
 * The cost of detection: `bun scripts/bench/detect.ts [--short] [--root DIR]`. Measures whole runs of `fleet-agent
 * --detect-only`, without and with its cache. Alternates them with the version command of each interpreter it finds, and with
 * a shell script that runs these commands one after another. Prints medians, and ratios to the slowest single command.
 *
 * Examines this machine and, if the tests have built it, their Debian root with many languages; or only the image in DIR, as
 * nobody (needs root).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { builtLanguagesRoot } from "../../apps/agent/test/detection/languages-root.ts";
import type { Report } from "../../apps/agent/test/detection/seen.ts";
import { buildBinaries } from "../lib/build-binaries.ts";
import { root as repository } from "../lib/root.ts";
import { median } from "./shared/figures.ts";

const COLD_RATIO_MAX = 1.2;
const CACHED_MS_MAX = 25;
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NAME_CHARS = 52;
const NOBODY = 65_534;
/** Directory in the image for the agent, its state and the script. In DIR, a file system of its own is mounted there. */
const PLACE = "/tmp";

/** Arguments that make an interpreter print its version. The default is `--version`. */
const VERSION_ARGS: Readonly<Record<string, readonly string[]>> = {
  shell: ["-c", 'echo "$BASH_VERSION"'],
  go: ["version"],
  java: ["-version"],
  perl: ["-v"],
  php: ["-v"],
  lua: ["-v"],
  dotnet: ["--list-runtimes"],
};

/** An image to examine. */
interface Image {
  readonly name: string;
  /** Precedes each command. */
  readonly prefix: readonly string[];
  /** Path of the agent inside the image. */
  readonly agent: string;
  /** The same directory as seen from inside and from outside. */
  readonly place: readonly [string, string];
}

/** A command to measure. */
interface Command {
  readonly name: string;
  readonly argv: readonly string[];
}

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    root: { type: "string" },
    entered: { type: "boolean", default: false },
    data: { type: "string" },
  },
});
const rounds = values.short ? 5 : 25;
if (values.root !== undefined) {
  process.exit(values.entered ? measureRoot(values.root) : enter(values.root));
} else {
  await buildBinaries(["fleet-agent"]);
  const dir = mkdtempSync(join(tmpdir(), "bench-detect-"));
  try {
    const agent = join(repository, "dist/fleet-agent");
    measure({ name: "this machine", prefix: [], agent, place: [dir, dir] });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  const built = builtLanguagesRoot();
  if (built === undefined)
    console.log(
      "\nSkipped the Debian root with many languages: run the tests of apps/agent to build it",
    );
  else process.exit(enter(built));
}

/** Runs this program again in a mount namespace in which DIR has /proc and a temporary directory with the agent. */
function enter(dir: string): number {
  const outside = join(dir, PLACE);
  const script = `mount -t proc proc "$1/proc"
    mount -t tmpfs -o mode=0700,uid=${NOBODY},gid=${NOBODY} tmpfs "$2"
    touch "$2/fleet-agent"; mount --bind "$3" "$2/fleet-agent"
    shift 3; exec "$@"`;
  const namespace = ["unshare", "--mount", "--propagation", "private"];
  const shell = ["sh", "-ec", script, "sh", dir, outside, join(repository, "dist/fleet-agent")];
  const again = [process.execPath, import.meta.path, "--entered", "--root", dir];
  if (values.short) again.push("--short");
  const { exitCode } = Bun.spawnSync([...namespace, ...shell, ...again], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  return exitCode;
}

function measureRoot(dir: string): number {
  const prefix = ["chroot", `--userspec=${NOBODY}:${NOBODY}`, "--groups=", dir];
  const place = [PLACE, join(dir, PLACE)] as const;
  measure({ name: dir, prefix, agent: `${PLACE}/fleet-agent`, place });
  return 0;
}

/** Measures one image and prints its figures. */
function measure(image: Image): void {
  const detect = [image.agent, "--detect-only", "--json", "--state-dir", image.place[0]];
  const report = JSON.parse(run(image, [...detect, "--fresh"]).stdout) as Report;
  const versionCommands = versionCommandsOf(report);
  const script = versionCommands.map(
    ({ argv }) => `${argv.map(quote).join(" ")} >/dev/null 2>&1\n`,
  );
  writeFileSync(join(image.place[1], "ask.sh"), script.join(""));

  const commands: readonly Command[] = [
    ...versionCommands,
    { name: "loop", argv: ["/bin/sh", join(image.place[0], "ask.sh")] },
    { name: "empty", argv: [image.agent, "--version"] },
    { name: "cold", argv: [...detect, "--fresh"] },
    { name: "cached", argv: detect },
  ];
  const times = new Map(commands.map(({ name }) => [name, [] as number[]]));
  let cpuMs = 0;
  for (let round = 0; round < rounds; round++) {
    for (const { name, argv } of commands) {
      const { ms, cpuMs: ofCommand, stdout } = run(image, argv);
      // A change of the image makes the agent ignore its cache.
      const isDetection = name === "cold" || name === "cached";
      const isCached = isDetection && (JSON.parse(stdout) as Report).cached;
      if (!isDetection || isCached === (name === "cached")) times.get(name)!.push(ms);
      if (versionCommands.some((command) => command.name === name)) cpuMs += ofCommand / rounds;
    }
  }
  for (const [name, all] of times)
    if (all.length === 0) throw new Error(`no detection was ${name}`);
  print(image, versionCommands, (name) => median(times.get(name)!), cpuMs);
}

function print(
  image: Image,
  versionCommands: readonly Command[],
  msOf: (name: string) => number,
  cpuMs: number,
): void {
  const slowest = versionCommands.map(({ name }) => name).toSorted((a, b) => msOf(b) - msOf(a));
  const base = msOf(slowest[0]!);
  console.log(
    `\n${image.name}: ${versionCommands.length} interpreters, medians of ${rounds} runs, slowest first`,
  );
  const row = (name: string, ms: number, aim = ""): void => {
    const cells = [ms.toFixed(1).padStart(8), (ms / base).toFixed(2).padStart(6)];
    console.log(`  ${name.padEnd(NAME_CHARS)}${cells[0]} ms ${cells[1]}  ${aim}`.trimEnd());
  };
  for (const name of slowest.slice(0, 3)) row(name, msOf(name));
  const cores = availableParallelism();
  row(`all of them: CPU time over ${cores} cores`, cpuMs / cores);
  row("all of them: one after another, by sh", msOf("loop"));
  row("fleet-agent --version", msOf("empty"));
  const verdict = (isReached: boolean): string => (isReached ? "reached" : "NOT reached");
  const [cold, cached] = [msOf("cold"), msOf("cached")];
  const coldAim = `aim: ratio <= ${COLD_RATIO_MAX}, ${verdict(cold / base <= COLD_RATIO_MAX)}`;
  row("fleet-agent --detect-only --fresh", cold, coldAim);
  const cachedAim = `aim: <= ${CACHED_MS_MAX} ms, ${verdict(cached <= CACHED_MS_MAX)}`;
  row("fleet-agent --detect-only, cached", cached, cachedAim);
}

/** Returns the version command of every interpreter that the agent ran successfully. */
function versionCommandsOf(report: Report): Command[] {
  return report.interpreters.flatMap((interpreter) => {
    if (interpreter.verdict !== "ok") return [];
    const args = VERSION_ARGS[interpreter.name] ?? ["--version"];
    return [interpreter, ...interpreter.also].map(({ path }) => ({
      name: [path, ...args].join(" "),
      argv: [path, ...args],
    }));
  });
}

function run(image: Image, argv: readonly string[]) {
  const startMs = performance.now();
  const result = Bun.spawnSync([...image.prefix, ...argv], {
    env: { PATH, LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ms = performance.now() - startMs;
  if (result.exitCode !== 0) throw new Error(`${argv.join(" ")}: ${result.stderr.toString()}`);
  const cpuMs = Number(result.resourceUsage.cpuTime.total) / 1000;
  return { ms, cpuMs, stdout: result.stdout.toString() };
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
