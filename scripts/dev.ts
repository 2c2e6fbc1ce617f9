/**
 * `bun run dev [FLAG…]`: the coordinator from source, restarted when a file changes, without tokens, with its data in
 * `./data`. Flags go to `fleet-coordinator serve`.
 */
import { delimiter, join } from "node:path";
import { buildBinaries, dist } from "./lib/build-binaries.ts";
import { ensureInstalled } from "./lib/install.ts";
import { root } from "./lib/root.ts";

await ensureInstalled();
await buildBinaries(["fleet-tracker"]);
const child = Bun.spawn(
  [
    process.execPath,
    "--watch",
    "--no-clear-screen",
    join(root, "apps/coordinator/src/main.ts"),
    "serve",
    "--insecure-dev",
    `--data-dir=${join(root, "data")}`,
    ...process.argv.slice(2),
  ],
  {
    cwd: root,
    // A coordinator finds its tracker on PATH.
    env: { ...process.env, PATH: `${dist}${delimiter}${process.env["PATH"] ?? ""}` },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  },
);
// Ctrl-C reaches the coordinator too, since it shares our terminal; wait for its orderly stop.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
process.exit(await child.exited);
