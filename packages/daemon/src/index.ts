export { backoffMs, type BackoffOptions } from "./backoff.ts";
export { type Clock, every, sleep, systemClock, type Timer } from "./clock.ts";
export { parseBytes, parseDurationMs } from "./duration.ts";
export { Keepalive } from "./keepalive.ts";
export { createLog, isLogLevel, LOG_LEVELS, type Log, type LogLevel, silentLog } from "./log.ts";
export { type Random, seededRandom, systemRandom } from "./random.ts";
export {
  DeadlineError,
  type NamedService,
  type Service,
  ServiceGroup,
  type StopProblem,
  withDeadline,
} from "./service.ts";
export { exitCodeOf, onStopSignals, type StopSignal } from "./signals.ts";
