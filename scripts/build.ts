/**
 * `bun run build [NAME…] [--force]`: compiles the apps into `dist/`, each one file with Bun inside. A binary whose inputs
 * are what they were is left alone.
 */
import { ensureInstalled } from "./lib/install.ts";
import { type Built, buildBinaries, BuildError } from "./lib/build-binaries.ts";

const names = process.argv.slice(2).filter((arg) => !arg.startsWith("-"));
const force = process.argv.includes("--force");

await ensureInstalled();
try {
  const built = await buildBinaries(names, { force });
  for (const b of built) console.log(describe(b));
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(error.message);
  process.exit(1);
}

function describe({ name, bytes, ms }: Built): string {
  const size = `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  const time = ms === undefined ? "unchanged" : `${(ms / 1000).toFixed(1)} s`;
  return `dist/${name.padEnd(18)} ${size.padStart(10)}  ${time}`;
}
