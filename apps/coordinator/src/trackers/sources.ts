/**
 * Whether a stream has sources, and how long its tracker is kept without one. The transitions are pure; Tracker owns the
 * state and its timer. (T4)
 *
 *   idle, late, outage ── attached ──▶ present          present ── last one detached ──▶ outage
 *   idle, late ── started ──▶ outage                    late, outage ── stopping ──▶ idle
 *   idle ── frames ──▶ late                             any ── retired ──▶ retired, which is final
 */

/** The sources of one stream. */
export type Sources =
  /** No source, and nothing needs the process. */
  | { readonly at: "idle" }
  /** No source, but frames arrived while the process was stopping, so it is started again. */
  | { readonly at: "late" }
  /** This many sources are attached. */
  | { readonly at: "present"; readonly count: number }
  /** No source; the process is kept until `endsAtMs` (monotonic). */
  | { readonly at: "outage"; readonly endsAtMs: number }
  /** The coordinator is stopping: the process is not started again, whatever `count` sources still do. */
  | { readonly at: "retired"; readonly count: number };

/** What changes the sources. `outageEndsAtMs` is when an outage that begins now ends (monotonic). */
export type SourceEvent =
  | { readonly at: "attached" | "frames" | "stopping" | "retired" }
  | { readonly at: "detached" | "started"; readonly outageEndsAtMs: number };

/** The number of attached sources. */
export function countOf(sources: Sources): number {
  return sources.at === "present" || sources.at === "retired" ? sources.count : 0;
}

/** Whether a process that has just stopped must be started again. */
export function needsProcess(sources: Sources, waitingFrames: number): boolean {
  if (sources.at === "present") return true;
  return (sources.at === "late" || sources.at === "outage") && waitingFrames > 0;
}

/** The state after `event`; `sources` itself when the event changes nothing. */
export function nextSources(sources: Sources, event: SourceEvent): Sources {
  const count = countOf(sources);
  switch (event.at) {
    case "attached":
      return { at: sources.at === "retired" ? "retired" : "present", count: count + 1 };
    case "detached":
      if (sources.at === "present" && count === 1)
        return { at: "outage", endsAtMs: event.outageEndsAtMs };
      return sources.at === "present" || (sources.at === "retired" && count > 0)
        ? { at: sources.at, count: count - 1 }
        : sources;
    case "started":
      return count > 0 || sources.at === "retired"
        ? sources
        : { at: "outage", endsAtMs: event.outageEndsAtMs };
    case "frames":
      return sources.at === "idle" ? { at: "late" } : sources;
    case "stopping":
      return sources.at === "late" || sources.at === "outage" ? { at: "idle" } : sources;
    case "retired":
      return { at: "retired", count };
  }
}
