/** Compares this machine's clock with the coordinator's, because tokens and frames carry times. Pure. (A9) */
import { type Check, fail, ok, warn } from "./check.ts";
import type { CoordinatorHealth } from "./check-coordinator.ts";
import type { Whoami } from "./check-tokens.ts";

const OFFSET_WARN_MS = 1000;
const OFFSET_FAIL_MS = 30_000;
/** An HTTP date has whole seconds; the middle of its second is off by at most this. */
const DATE_ERROR_MS = 500;
const REMEDY =
  "Correct the clock of the wrong machine (a container uses its host's) and keep it synchronised: chrony, systemd-timesyncd";

/** Uses the time in an answer, assumed to be written halfway through the request; without an accepted token, the Date header. */
export function checkClock(
  whoami: Whoami | undefined,
  health: CoordinatorHealth,
): readonly Check[] {
  if (whoami !== undefined) {
    const { answer, sentMs, tookMs } = whoami;
    return [judge(answer.server_time_ms - (sentMs + tookMs / 2), tookMs / 2)];
  }
  const { serverDateMs, sentMs, tookMs } = health;
  if (serverDateMs === undefined) return [];
  const offsetMs = serverDateMs + DATE_ERROR_MS - (sentMs + tookMs / 2);
  return [judge(offsetMs, tookMs / 2 + DATE_ERROR_MS)];
}

/** `offsetMs` is the coordinator's time minus ours. An offset within the error is not a problem. */
function judge(offsetMs: number, errorMs: number): Check {
  const leastMs = Math.abs(offsetMs) - errorMs;
  const side = offsetMs > 0 ? "behind" : "ahead of";
  const message = `${seconds(Math.abs(offsetMs))} ± ${seconds(Math.ceil(errorMs))} ${side} the coordinator's`;
  const data = { offset_ms: Math.round(offsetMs), error_ms: Math.ceil(errorMs) };
  if (leastMs > OFFSET_FAIL_MS) return fail("clock", message, REMEDY, { data });
  if (leastMs > OFFSET_WARN_MS) return warn("clock", message, REMEDY, { data });
  return ok("clock", message, { data });
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`;
}
