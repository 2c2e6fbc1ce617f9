import { expect, test } from "bun:test";
import { countTests } from "./test-report.ts";

test("reads the totals of the whole report, not of one file in it", () => {
  const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="7" assertions="9" failures="2" skipped="1" time="0.1">
  <testsuite name="a.test.ts" tests="3" failures="1" skipped="0"></testsuite>
</testsuites>`;
  expect(countTests(report)).toEqual({ passed: 4, failed: 2 });
});

test("counts nothing in a report that is missing or truncated", () => {
  expect(countTests("")).toEqual({ passed: 0, failed: 0 });
  expect(countTests('<?xml version="1.0"?>\n<testsuites name="bun test" tests="7"')).toEqual({
    passed: 0,
    failed: 0,
  });
});
