/** The results of the doctor: one `Check` per item examined. They are also its JSON output, `schema: 1`. (A9) */

/** The item examined. Checks with the same id have different subjects. */
export type CheckId =
  | "config"
  | "proc"
  | "coordinator"
  | "token"
  | "clock"
  | "frames"
  | "state_dir"
  | "identity"
  | "spool"
  | "runtimes"
  | "environment"
  | "sensor";

/** Details of a check: its subject, and data for programs. */
export interface CheckDetails {
  /** A path, a variable, or the name of a sensor or environment. */
  readonly subject?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** One item examined. `fail`: the agent does not work as configured. `warn`: it works, but perhaps not as expected. */
export interface Check extends CheckDetails {
  readonly id: CheckId;
  readonly status: "ok" | "warn" | "fail";
  /** The finding, for a person. */
  readonly message: string;
  /** What to do about it; present unless the status is `ok`. */
  readonly remedy?: string;
}

/** A check without a problem. */
export function ok(id: CheckId, message: string, details: CheckDetails = {}): Check {
  const { subject, data } = details;
  return {
    id,
    status: "ok",
    ...(subject === undefined ? {} : { subject }),
    message,
    ...(data === undefined ? {} : { data }),
  };
}

/** A check with a warning, and its remedy. */
export function warn(
  id: CheckId,
  message: string,
  remedy: string,
  details: CheckDetails = {},
): Check {
  return { ...ok(id, message, details), status: "warn", remedy };
}

/** A failed check, and its remedy. */
export function fail(
  id: CheckId,
  message: string,
  remedy: string,
  details: CheckDetails = {},
): Check {
  return { ...ok(id, message, details), status: "fail", remedy };
}
