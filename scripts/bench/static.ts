/**
 * The cost of static linking: `bun scripts/bench/static.ts [--short]`. Compares the same compiled program linked statically and
 * dynamically, in alternating runs: time of `--version` (median), memory of an idle agent (resident, and proportional set size
 * of one and of four at once), size of the file, raw and with zstd -19, and its parts. `--short` does fewer runs with zstd -3.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Elf, linkStatic, type Part } from "@fleet/static-elf";
import { compile, thisArch } from "../lib/build-binaries.ts";
import { ensureInstalled } from "../lib/install.ts";
import { root } from "../lib/root.ts";
import { median } from "./shared/figures.ts";

const MIB = 1024 ** 2;
const PT_LOAD = 1;
const RATIO_MAX = 1.5;
const IDLE_MS = 1500;
const MANY = 4;
const FORMS = ["plain", "static"] as const;
type Form = (typeof FORMS)[number];
type Pair<T> = Readonly<Record<Form, T>>;

await ensureInstalled();
const { values } = parseArgs({
  options: { short: { type: "boolean", default: false }, data: { type: "string" } },
});
const runs = values.short ? 20 : 200;
const level = values.short ? 3 : 19;

const dir = mkdtempSync(join(tmpdir(), "bench-static-"));
let isSlow = false;
try {
  const { files, parts } = await build();
  const start = startTimes(files);
  row("", ["plain", "static", "ratio"]);
  compare("start, --version, ms", start, 1);
  const [alone, many] = [await idle(files, 1), await idle(files, MANY)];
  compare(
    "idle agent, RSS, MiB",
    mapPair(alone, (m) => m.rss),
    1,
  );
  compare(
    "  PSS, MiB",
    mapPair(alone, (m) => m.pss),
    1,
  );
  compare(
    `  each of ${MANY}, PSS, MiB`,
    mapPair(many, (m) => m.pss),
    1,
  );
  const bytes = mapPair(files, (file) => readFileSync(file));
  compare(
    "file, MiB",
    mapPair(bytes, (b) => b.length / MIB),
    1,
  );
  const packed = mapPair(bytes, (b) => Bun.zstdCompressSync(b, { level }).length / MIB);
  compare(`  zstd -${level}, MiB`, packed, 1);
  printParts(bytes.plain, parts);
  isSlow = start.static / start.plain > RATIO_MAX;
  if (isSlow) console.log(`start takes more than ${RATIO_MAX} × as long as with the plain file`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
process.exit(isSlow ? 1 : 0);

async function build(): Promise<{ files: Pair<string>; parts: readonly Part[] }> {
  const files = { plain: join(dir, "plain/fleet-agent"), static: join(dir, "static/fleet-agent") };
  for (const form of FORMS) mkdirSync(join(dir, form));
  await compile(join(root, "apps/agent/src/main.ts"), files.plain, thisArch, "bench", "");
  const { bytes, parts } = linkStatic(files.plain, new Uint8Array(readFileSync(files.plain)));
  writeFileSync(files.static, bytes, { mode: 0o755 });
  return { files, parts };
}

function mapPair<T, U>(pair: Pair<T>, map: (value: T) => U): Pair<U> {
  return { plain: map(pair.plain), static: map(pair.static) };
}

function version(file: string): void {
  const result = Bun.spawnSync([file, "--version"], { stdout: "ignore", stderr: "inherit" });
  if (result.exitCode !== 0) throw new Error(`${file} --version failed`);
}

function startTimes(files: Pair<string>): Pair<number> {
  const times = { plain: [] as number[], static: [] as number[] };
  for (let i = 0; i < runs; i++) {
    for (const form of FORMS) {
      const startMs = performance.now();
      version(files[form]);
      times[form].push(performance.now() - startMs);
    }
  }
  return mapPair(times, median);
}

/** Resident and proportional set size, MiB. */
interface Memory {
  readonly rss: number;
  readonly pss: number;
}

/** Returns the mean over `count` agents that run at once and reach no coordinator. */
async function idle(files: Pair<string>, count: number): Promise<Pair<Memory>> {
  const measure = async (form: Form): Promise<Memory> => {
    const agents = Array.from({ length: count }, (_, i) => startAgent(files[form], `${form}-${i}`));
    await Bun.sleep(IDLE_MS);
    try {
      const all = agents.map(({ pid }) => memoryOf(pid));
      const mean = (of: (m: Memory) => number): number =>
        all.reduce((sum, m) => sum + of(m), 0) / count;
      return { rss: mean((m) => m.rss), pss: mean((m) => m.pss) };
    } finally {
      for (const agent of agents) agent.kill("SIGKILL");
      await Promise.all(agents.map((agent) => agent.exited));
    }
  };
  return { plain: await measure("plain"), static: await measure("static") };
}

function startAgent(file: string, name: string) {
  const state = mkdtempSync(join(dir, "state-"));
  return Bun.spawn(
    [file, "--name", name, "--coordinator", "http://127.0.0.1:9", "--state-dir", state],
    { env: { PATH: "/usr/bin:/bin" }, stdio: ["ignore", "ignore", "ignore"] },
  );
}

function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const mib = (key: string): number =>
    Number(new RegExp(`^${key}: +(\\d+) kB$`, "m").exec(rollup)![1]) / 1024;
  return { rss: mib("Rss"), pss: mib("Pss") };
}

function row(name: string, cells: readonly string[]): void {
  console.log(`${name.padEnd(24)}${cells.map((cell) => cell.padStart(9)).join("")}`);
}

function compare(name: string, pair: Pair<number>, digits: number): void {
  const ratio = (pair.static / pair.plain).toFixed(2);
  row(name, [pair.plain.toFixed(digits), pair.static.toFixed(digits), ratio]);
}

/** Prints the sizes of the program's segments and the appended parts, raw and compressed separately. */
function printParts(plain: Uint8Array, parts: readonly Part[]): void {
  const kinds = ["constants", "code", "data and JavaScript"];
  const segments = new Elf("fleet-agent", plain).segments.filter((s) => s.type === PT_LOAD);
  const rows: (readonly [string, Uint8Array])[] = segments.map((s, i) => [
    kinds[i] ?? `segment ${i}`,
    plain.subarray(s.offset, s.offset + s.fileBytes),
  ]);
  const end = Math.max(...segments.map((s) => s.offset + s.fileBytes));
  rows.push(["symbols, sections", plain.subarray(end)]);
  const whole = readFileSync(join(dir, "static/fleet-agent"));
  for (const part of parts)
    rows.push([part.name, whole.subarray(part.offset, part.offset + part.bytes)]);
  row("\nparts, KiB", ["raw", `zstd -${level}`]);
  for (const [name, bytes] of rows) {
    const packed = Bun.zstdCompressSync(bytes, { level });
    row(
      `  ${name}`,
      [bytes, packed].map((b) => (b.length / 1024).toFixed(1)),
    );
  }
}
