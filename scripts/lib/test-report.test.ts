import { expect, test } from "bun:test";
import { countTests } from "./test-report.ts";

test("totals are those of the whole report, not of a file in it", () => {
  const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="7" assertions="9" failures="2" skipped="1" time="0.1">
  <testsuite name="a.test.ts" tests="3" failures="1" skipped="0"></testsuite>
</testsuites>`;
  expect(countTests(report)).toEqual({ passed: 4, failed: 2 });
});

test("a report that is missing or was cut off counts for nothing", () => {
  expect(countTests("")).toEqual({ passed: 0, failed: 0 });
  expect(countTests('<?xml version="1.0"?>\n<testsuites name="bun test" tests="7"')).toEqual({
    passed: 0,
    failed: 0,
  });
});
