/** What the demo's processes find in their environment. Pure. */

/** Variables that would steer the programs in other ways than their configs do, and those that package runners add. */
const UNWANTED = /^(FLEET|BUN|npm)_/;
/** Directories package runners put into the search path: a `bun` in there is no runtime of this machine. */
const UNWANTED_DIR = /\/node_modules\//;

/** `env` as it was before `npx` and `bun run`, less what would steer the programs. */
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
