/** The result of `bun test`. Skipped and todo tests count as neither. */
export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
}

/** Reads the totals of a JUnit report. Returns zeros if it has none, as after a crash. */
export function countTests(junit: string): TestCounts {
  const totals = /<testsuites\b[^>]*>/.exec(junit)?.[0] ?? "";
  const read = (name: string): number =>
    Number(new RegExp(` ${name}="(\\d+)"`).exec(totals)?.[1] ?? "0");
  const failed = read("failures") + read("errors");
  return { passed: read("tests") - failed - read("skipped"), failed };
}
