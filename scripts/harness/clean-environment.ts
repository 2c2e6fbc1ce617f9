/** The environment that demo and chaos pass to the programs they start. Pure. */

/** Matches variables that would configure the programs behind the back of their config files, and those that package runners add. */
const UNWANTED = /^(FLEET|BUN|npm)_/;
/** Matches directories that package runners add to PATH; a `bun` in one of them is not a runtime of this machine. */
const UNWANTED_DIR = /\/node_modules\//;

/** Returns `env` without what `npx` and `bun run` added to it and without the user's own FLEET_ variables. */
export function cleanEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !UNWANTED.test(entry[0]),
  );
  return Object.fromEntries(
    kept.map(([name, value]) => [name, name === "PATH" ? cleanPath(value) : value]),
  );
}

function cleanPath(path: string): string {
  return path
    .split(":")
    .filter((dir) => !UNWANTED_DIR.test(`${dir}/`))
    .join(":");
}
