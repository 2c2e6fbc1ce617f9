#!/usr/bin/env bun
/** Entry point of `fleet-coordinator`. Containers run `health` every few seconds, so that command loads nothing else. */
import { health, quickHealthFlags } from "./cli/health.ts";

const quick = quickHealthFlags(process.argv.slice(2), process.env);
if (quick !== undefined) process.exit(await health(quick));
const { runCommandLine } = await import("./cli/command-line.ts");
await runCommandLine();
