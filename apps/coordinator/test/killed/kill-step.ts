/**
 * Preloaded into a coordinator. On SIGUSR2 it reads n from the file KILL_FILE, and sends itself SIGKILL just before the n-th
 * SQLite statement from then on. Used by killed-coordinator.test.ts.
 */
import { Database } from "bun:sqlite";
import { readFileSync } from "node:fs";

type Method = (this: unknown, ...args: never[]) => unknown;
type Methods = Record<string, Method>;

let stepsLeft = Number.POSITIVE_INFINITY;

/** Counts each call of these methods as a step. */
function watch(methods: Methods, names: readonly string[]): void {
  for (const name of names) {
    const original = methods[name]!;
    methods[name] = function (...args) {
      if (--stepsLeft === 0) process.kill(process.pid, "SIGKILL");
      return original.apply(this, args);
    };
  }
}

const database = Database.prototype as unknown as Methods;
watch(database, ["run"]);
// A statement has its own methods, not those of its class.
for (const name of ["prepare", "query"]) {
  const original = database[name]!;
  const seen = new WeakSet();
  database[name] = function (...args) {
    const statement = original.apply(this, args) as Methods;
    if (!seen.has(statement)) watch(statement, ["run", "get", "all", "values"]);
    seen.add(statement);
    return statement;
  };
}
process.on("SIGUSR2", () => {
  stepsLeft = Number(readFileSync(process.env["KILL_FILE"]!, "utf8"));
  process.stderr.write(`armed ${stepsLeft}\n`);
});
