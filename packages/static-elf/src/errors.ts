/** The reasons why a file cannot be linked. Each has a code, and a message for the user that names the file. */

export type StaticElfCode =
  | "not_elf"
  | "not_64_bit"
  | "big_endian"
  | "truncated"
  | "malformed"
  | "unsupported_machine"
  | "position_independent"
  | "no_interpreter"
  | "already_linked"
  | "not_glibc"
  | "layout"
  | "library_missing"
  | "library_unreadable"
  | "library_machine"
  | "library_unexpected"
  | "no_compiler"
  | "compile_failed"
  | "unreadable"
  | "unwritable";

/** A file cannot be linked; `message` is one line for the user. */
export class StaticElfError extends Error {
  readonly code: StaticElfCode;
  constructor(code: StaticElfCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
