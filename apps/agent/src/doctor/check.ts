/** What the doctor finds: one `Check` for each thing looked at. They are the JSON form as they stand, `schema: 1`. (A9) */

/** What was looked at. Several checks may have the same id, each with a subject of its own. */
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

/** More about a check: what it was about, and figures for programs. */
export interface CheckDetails {
  /** Which of several: a path, a variable, a sensor's or environment's name. */
  readonly subject?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** One thing that was looked at. `fail`: the agent does not work as configured. `warn`: it does, but may surprise. */
export interface Check extends CheckDetails {
  readonly id: CheckId;
  readonly status: "ok" | "warn" | "fail";
  /** What was found, for a person. */
  readonly message: string;
  /** What to do about it; there is one whenever the status is not `ok`. */
  readonly remedy?: string;
}

/** It is as it should be. */
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

/** Something may surprise, and what to do about it. */
export function warn(
  id: CheckId,
  message: string,
  remedy: string,
  details: CheckDetails = {},
): Check {
  return { ...ok(id, message, details), status: "warn", remedy };
}

/** Something does not work, and what to do about it. */
export function fail(
  id: CheckId,
  message: string,
  remedy: string,
  details: CheckDetails = {},
): Check {
  return { ...ok(id, message, details), status: "fail", remedy };
}
