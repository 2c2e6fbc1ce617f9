/**
 * `bun run dev [FLAG…]`: runs the coordinator from source, without tokens and with its data in `./data`. Restarts it when a
 * source file changes. Passes flags on to `fleet-coordinator serve`.
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
    // The coordinator finds its tracker through PATH.
    env: { ...process.env, PATH: `${dist}${delimiter}${process.env["PATH"] ?? ""}` },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  },
);
// Ctrl-C also reaches the coordinator, which shares our terminal. Wait for its orderly stop.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
process.exit(await child.exited);
