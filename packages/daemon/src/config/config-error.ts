/** The error of a configuration that can't be used. Thrown while an app starts or reloads; `main.ts` turns it into exit code 78. */

/** All problems of one configuration, each as `PATH: what is wrong`. `source` names the file or variable they are in. */
export class ConfigError extends Error {
  readonly code = "config";
  readonly problems: readonly string[];
  constructor(source: string, problems: readonly string[]) {
    super(`${source}:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}
