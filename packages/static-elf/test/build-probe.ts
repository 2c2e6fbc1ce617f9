/** Compiles the probe with the settings of the apps, links it, and runs both forms. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { linkStatic } from "../src/index.ts";

const SOURCES = [import.meta.resolve("./probe.ts"), import.meta.resolve("./worker.ts")].map((url) =>
  Bun.fileURLToPath(url),
);
const RUN_MS_MAX = 20_000;

/** The probe in its two forms: as `bun build --compile` makes it, and linked. */
export interface Probe {
  readonly plain: string;
  readonly linked: string;
}

/** Compiles the probe to `DIR/plain/probe`. */
export async function compileProbe(dir: string): Promise<string> {
  const outfile = join(dir, "plain", "probe");
  mkdirSync(join(dir, "plain"), { recursive: true });
  const result = await Bun.build({
    entrypoints: SOURCES,
    target: "bun",
    format: "esm",
    bytecode: true,
    compile: {
      target: process.arch === "arm64" ? "bun-linux-arm64" : "bun-linux-x64-baseline",
      outfile,
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: false,
    },
  });
  if (!result.success) throw new Error(Bun.inspect(result.logs));
  return outfile;
}

/** Compiles the probe and links it to `DIR/linked/probe`. */
export async function buildProbe(dir: string): Promise<Probe> {
  const plain = await compileProbe(dir);
  const linked = join(dir, "linked", "probe");
  mkdirSync(join(dir, "linked"), { recursive: true });
  const { bytes } = linkStatic(plain, await Bun.file(plain).bytes());
  writeFileSync(linked, bytes, { mode: 0o755 });
  return { plain, linked };
}

/** The result of a run. */
export interface Run {
  readonly out: string;
  readonly err: string;
  readonly code: number | null;
  readonly signal: string | null;
  /** Its output parsed as JSON; undefined if it is not JSON. */
  readonly json: unknown;
}

/** Options of a run. `env` replaces the environment, except PATH. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string;
}

/** Runs a command to its end. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Run> {
  const child = Bun.spawn([...command], {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: new Blob([options.stdin ?? ""]),
    stdout: "pipe",
    stderr: "pipe",
    timeout: RUN_MS_MAX,
  });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return {
    out,
    err,
    code: child.exitCode,
    signal: child.signalCode === null ? null : String(child.signalCode),
    json: parse(out),
  };
}

function parse(out: string): unknown {
  try {
    return JSON.parse(out) as unknown;
  } catch {
    return undefined;
  }
}
