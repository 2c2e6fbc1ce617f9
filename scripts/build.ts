/** `bun run build`: compiles the apps, each into one static file that contains Bun. */
import { parseArgs } from "node:util";
import { ensureInstalled } from "./lib/install.ts";
import { ARCHES, type Built, buildBinaries, BuildError } from "./lib/build-binaries.ts";

const EXIT_USAGE = 64;
const USAGE = `usage: bun run build [NAME…] [--arch ${ARCHES.join("|")}] [--dynamic] [--force]

Compiles fleet-agent, fleet-coordinator and fleet-tracker, or only those named, into dist/. Skips a binary whose inputs have
not changed.

  --arch ARCH  build for another processor, into dist/ARCH/; needs a C cross-compiler unless --dynamic is given
  --dynamic    link dynamically; needs no C compiler, but the binary runs only where glibc is
  --force      build even if nothing has changed
  --help       print this help
`;

const { values, positionals } = readArgs();
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const arch = ARCHES.find((a) => a === values.arch);
if (values.arch !== undefined && arch === undefined)
  failUsage(`unknown processor ${values.arch}; choose ${ARCHES.join(" or ")}`);

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

function readArgs() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        arch: { type: "string" },
        dynamic: { type: "boolean", default: false },
        force: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    return failUsage((error as Error).message);
  }
}

function failUsage(problem: string): never {
  process.stderr.write(`build: ${problem}\n\n${USAGE}`);
  process.exit(EXIT_USAGE);
}

function describe({ path, bytes, ms }: Built): string {
  const size = `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  const time = ms === undefined ? "unchanged" : `${(ms / 1000).toFixed(1)} s`;
  return `${path.padEnd(30)} ${size.padStart(10)}  ${time}`;
}
