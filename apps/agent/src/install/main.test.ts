import { expect, test } from "bun:test";
import { join } from "node:path";

const BYTES_MAX = 64 * 1024;

test("installing loads little, and neither schemas nor logging", async () => {
  const { outputs } = await Bun.build({
    entrypoints: [join(import.meta.dir, "main.ts")],
    target: "bun",
  });
  const text = await outputs[0]!.text();
  expect(text).toContain("already_installed");
  expect(text).not.toMatch(/\b(zod|pino)\b/);
  expect(text.length).toBeLessThan(BYTES_MAX);
});
