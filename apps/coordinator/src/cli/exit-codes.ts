/**
 * How `fleet-coordinator` exits, beside 0 and 128 + n after signal n. The numbers are those of sysexits.h where one fits, and
 * those of `fleet-agent install`. `docs/exit-codes.md` lists them for users.
 */
import { CommanderError } from "commander";

/** Any error without a code in the table. */
const EXIT_FAILED = 1;
const EXIT_USAGE = 64;
/** By the `code` of the error that ends the process. */
const EXIT_CODES: Readonly<Record<string, number>> = {
  database_damaged: 65,
  secrets_no_directory: 66,
  secrets_io: 74,
  data_dir_in_use: 75,
  secrets_permission: 77,
  config: 78,
  secrets_conflict: 78,
  secrets_read_only: 80,
  secrets_no_space: 81,
};

/** The table for `--help`. */
export const EXIT_HELP = `
Exit codes:
    0  done
    1  failed, or not healthy; stderr says why
   64  wrong usage
   65  the database or backup is damaged
   66  secrets: a directory does not exist
   74  secrets: a file can't be read or written
   75  another coordinator uses the data directory
   77  secrets: no permission
   78  wrong configuration, or existing secrets that contradict each other
   80  secrets: the file system is read-only
   81  secrets: no space left
  128 + n  after signal n`;

/** The exit code for an error that ended the command. */
export function exitCodeFor(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  const code = (error as { code?: unknown } | null)?.code;
  return (typeof code === "string" ? EXIT_CODES[code] : undefined) ?? EXIT_FAILED;
}
