/** The chaos test as CI runs it: the real binaries for about 40 s, always with the same schedule. (A16, T5, T8, H7) */
import { expect, test } from "bun:test";
import { join } from "node:path";

const SEED = "6";
const MINUTES = "0.6";
const TEST_MS_MAX = 300_000;

test(
  "a fleet whose parts are killed, disconnected and filled at random keeps every frame it must, and accounts for the rest",
  async () => {
    const args = ["--seed", SEED, "--minutes", MINUTES];
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "chaos.ts"), ...args], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    expect(err).toBe("");
    expect(out).toContain(`All is well: every frame is accounted for (seed ${SEED}).`);
    expect(await child.exited).toBe(0);
  },
  TEST_MS_MAX,
);
