import { root } from "./root.ts";

/** Runs a command in the root of the repository without stdin. `output` is its stdout, then its stderr. */
export async function capture(
  command: readonly string[],
): Promise<{ readonly code: number; readonly output: string }> {
  const child = Bun.spawn([...command], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { code, output: stdout + stderr };
}
