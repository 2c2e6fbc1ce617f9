/** Small programs in C for tests that run hundreds of them. Where there is no compiler, such a test can't be run. */

/** Compiles `source` to the program `to`. Why it could not be done, or undefined. */
export function compileC(source: string, to: string): string | undefined {
  const compiler = Bun.which("gcc") ?? Bun.which("cc");
  if (compiler === null) return "there is no C compiler (gcc or cc)";
  const { exitCode, stderr } = Bun.spawnSync([compiler, "-O2", "-o", to, source]);
  return exitCode === 0 ? undefined : `${compiler}: ${stderr.toString().trim()}`;
}
