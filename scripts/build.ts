/**
 * `bun run build [NAME…] [--arch x86_64|aarch64] [--dynamic] [--force]`: compiles the apps, each into one static file with Bun
 * inside, in `dist/`, or in `dist/ARCH/` for another processor. A binary whose inputs are what they were is left alone.
 */
import { parseArgs } from "node:util";
import { ensureInstalled } from "./lib/install.ts";
import { ARCHES, type Built, buildBinaries, BuildError } from "./lib/build-binaries.ts";

const EXIT_USAGE = 64;

function usage(problem: string): never {
  console.error(`build: ${problem}`);
  console.error("usage: bun run build [NAME…] [--arch x86_64|aarch64] [--dynamic] [--force]");
  process.exit(EXIT_USAGE);
}

function readArgs() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        arch: { type: "string" },
        dynamic: { type: "boolean", default: false },
        force: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return usage((error as Error).message);
  }
}

const { values, positionals } = readArgs();
const arch = ARCHES.find((a) => a === values.arch);
if (values.arch !== undefined && arch === undefined)
  usage(`no processor is called ${values.arch}; there are ${ARCHES.join(", ")}`);

await ensureInstalled();
try {
  const { dynamic, force } = values;
  const options = { dynamic, force, ...(arch === undefined ? {} : { arch }) };
  for (const built of await buildBinaries(positionals, options)) console.log(describe(built));
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(error.message);
  process.exit(1);
}

function describe({ path, bytes, ms }: Built): string {
  const size = `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  const time = ms === undefined ? "unchanged" : `${(ms / 1000).toFixed(1)} s`;
  return `${path.padEnd(30)} ${size.padStart(10)}  ${time}`;
}
