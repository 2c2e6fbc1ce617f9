/** Commands of this machine, run to their end. */

const COMMAND_MS_MAX = 120_000;

/** How a command ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where and how a command is run; what is left out is as it is here, without stdin. */
export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs?: number;
}

/** Runs a command; one that takes too long is killed. */
export async function run(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<Ended> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd ?? "/",
    env: { ...process.env, LC_ALL: "C", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: options.timeoutMs ?? COMMAND_MS_MAX,
  });
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

/** As `run`; throws unless the command ended well. Its stdout, without blanks at the end. */
export async function runOrThrow(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, options);
  if (code !== 0)
    throw new Error(`${command.join(" ")} ended with ${code}: ${stdout}${stderr}`.trim());
  return stdout.trimEnd();
}
