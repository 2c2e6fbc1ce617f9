/** The agent's report on a root, and the parts that are compared with the truth. Used by the tests of detection. */
import { expect } from "bun:test";
import type {
  ImageReport,
  InterpreterReport,
  Rejection,
  ResolvedRuntimes,
  WorkingInterpreter,
} from "@fleet/runtimes";
import type { EnterOptions, Root } from "../roots/root.ts";
import type { Installed } from "./truth.ts";

/** The output of `--detect-only --json`. */
export type Report = ImageReport & { readonly resolved: ResolvedRuntimes };

export const PATH = "/usr/local/bin:/usr/bin:/bin";

/** Runs the agent's detection in the root. Fails unless it succeeds without other output. */
export async function detect(
  root: Root,
  options: EnterOptions = {},
  flags: readonly string[] = [],
): Promise<Report> {
  const env = { PATH, ...options.env };
  const run = root.agent(["--detect-only", "--json", ...flags], { ...options, env });
  expect([await run.exit(), run.err()]).toEqual([0, ""]);
  return JSON.parse(run.out()) as Report;
}

export function named(report: ImageReport, name: string): InterpreterReport | undefined {
  return report.interpreters.find((interpreter) => interpreter.name === name);
}

/** The interpreter; fails unless it works. */
export function working(report: ImageReport, name: string): WorkingInterpreter {
  const found = named(report, name);
  expect([name, found?.verdict]).toEqual([name, "ok"]);
  return found as WorkingInterpreter;
}

/** The rejected candidates of all interpreters. */
export function rejections(report: ImageReport): Rejection[] {
  return report.interpreters.flatMap(({ rejected }) => rejected);
}

/** All working interpreters in the form of the truth, without the properties of scripts that the truth does not know. */
export function seen(report: ImageReport, truth: readonly Installed[]): Installed[] {
  const scripts = new Set(truth.flatMap((one) => (one.arch === undefined ? [one.real_path] : [])));
  return inOrder(
    report.interpreters.flatMap((interpreter) => {
      if (interpreter.verdict !== "ok") return [];
      return [interpreter, ...interpreter.also].map((one) => ({
        name: interpreter.name,
        real_path: one.real_path,
        version: one.version,
        implementation: one.implementation ?? "",
        vendor: one.vendor,
        kind: one.kind,
        libc: scripts.has(one.real_path) ? undefined : one.libc,
        arch: scripts.has(one.real_path) ? undefined : one.arch,
      }));
    }),
  );
}

export function inOrder(installed: readonly Installed[]): Installed[] {
  const key = ({ name, real_path }: Installed): string => `${name} ${real_path}`;
  return installed.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** A report without the fields that differ between runs. */
export function verdictsOf(report: Report): unknown {
  const { interpreters, absent, package_managers, environments, resolved } = report;
  const verdicts = { interpreters, absent, package_managers, environments, resolved };
  return JSON.parse(
    JSON.stringify(verdicts, (key, value: unknown) => (key === "probe_ms" ? undefined : value)),
  );
}
