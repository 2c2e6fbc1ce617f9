/** @fleet/daemon: what every long-running program here needs: time, logs, signals, services, configuration and files. */
export { readBody } from "./io/body.ts";
export { type EventQueueLimit, EventWriter, readEvents, type ServerEvent } from "./io/sse.ts";
export { backoffMs, type BackoffOptions } from "./time/backoff.ts";
export { type Clock, every, sleep, systemClock, type Timer } from "./time/clock.ts";
export { ConfigError } from "./config/config-error.ts";
export {
  durationBetween,
  type HostPort,
  parseBytes,
  parseDurationMs,
  type Parsed,
  parseHostPort,
  sizeBetween,
} from "./config/units.ts";
export { syncDirectory, writeFileAtomically } from "./process/atomic-write.ts";
export { Keepalive } from "./time/keepalive.ts";
export {
  createLog,
  isLogLevel,
  LOG_LEVELS,
  type Log,
  type LogLevel,
  silentLog,
} from "./observe/log.ts";
export { fileProblem } from "./process/file-problem.ts";
export { Hook } from "./process/hook.ts";
export { Counts } from "./observe/counts.ts";
export { LogLimiter } from "./observe/log-limiter.ts";
export { type Random, seededRandom, systemRandom } from "./time/random.ts";
export {
  DeadlineError,
  type NamedService,
  type Service,
  ServiceGroup,
  withDeadline,
} from "./process/service.ts";
export { exitCodeOf, onStopSignals, type StopSignal } from "./process/signals.ts";
