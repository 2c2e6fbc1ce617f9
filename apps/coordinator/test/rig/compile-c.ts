/** Compiles a C file, for tests that run hundreds of small programs. Returns what went wrong, or undefined. */
export function compileC(source: string, to: string): string | undefined {
  const compiler = Bun.which("gcc") ?? Bun.which("cc");
  if (compiler === null) return "there is no C compiler (gcc or cc)";
  const { exitCode, stderr } = Bun.spawnSync([compiler, "-O2", "-o", to, source]);
  return exitCode === 0 ? undefined : `${compiler}: ${stderr.toString().trim()}`;
}
