#!/usr/bin/env bun
/** `fleet-coordinator`. `health` is asked every few seconds beside the coordinator, so for it nothing else is loaded. */
import { health, quickHealthFlags } from "./cli/health.ts";

const quick = quickHealthFlags(process.argv.slice(2), process.env);
if (quick !== undefined) process.exit(await health(quick));
const { runCommandLine } = await import("./cli/command-line.ts");
await runCommandLine();
