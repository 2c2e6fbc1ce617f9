/** What this process may do for a sensor beyond running it: become another user, and where shared environments lie. (A9, A10) */
import { readFileSync } from "node:fs";
import { OWN_LAUNCHER } from "@fleet/supervisor";
import type { SensorConfig } from "../config/sensor.ts";

/** See `thisHost`. */
export interface SensorHost {
  /** FLEET_RUNTIME_ENVS_DIR. */
  readonly envsDir: string | undefined;
  readonly uid: number;
  readonly gid: number;
  /**
   * Has CAP_SETUID and CAP_SETGID to begin a process as another user, and CAP_KILL to end it again. Root has them, unless the
   * container dropped them.
   */
  readonly canSwitch: boolean;
  /** A static build: only that can set limits or a user. */
  readonly hasLauncher: boolean;
}

/** KILL, SETGID and SETUID. (capabilities(7)) */
const SWITCH_CAPABILITIES = (1n << 5n) | (1n << 6n) | (1n << 7n);

/** This process, as it is now. */
export function thisHost(): SensorHost {
  return {
    envsDir: process.env["FLEET_RUNTIME_ENVS_DIR"],
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    canSwitch: (effectiveCapabilities() & SWITCH_CAPABILITIES) === SWITCH_CAPABILITIES,
    hasLauncher: OWN_LAUNCHER !== undefined,
  };
}

/** Who a sensor runs as when that is not the agent's own user. */
export interface SensorUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user to switch to; undefined when there is nothing to switch. Pure. */
export function userOf({ uid, gid }: SensorConfig, host: SensorHost): SensorUser | undefined {
  if (uid === undefined || gid === undefined) return undefined;
  return uid === host.uid && gid === host.gid ? undefined : { uid, gid };
}

/** Why the sensor can't have the user or limits it asks for; undefined when it can, or asks for nothing. Pure. */
export function switchProblem(
  config: SensorConfig,
  host: SensorHost,
): { readonly reason: string; readonly remedy: string } | undefined {
  const user = userOf(config, host);
  const asks = user !== undefined || Object.keys(config.limits).length > 0;
  if (asks && !host.hasLauncher)
    return {
      reason: "asks for a user or limits of its own, which this build of the agent can't give",
      remedy: "use the static build, or take uid:, gid: and limits: out",
    };
  if (user === undefined || host.canSwitch) return undefined;
  return {
    reason: `is to run as uid ${user.uid}, gid ${user.gid}; the agent runs as uid ${host.uid}, gid ${host.gid} and may not switch`,
    remedy:
      "start the agent as root with CAP_SETUID, CAP_SETGID and CAP_KILL, or take uid: and gid: out",
  };
}

/** None where /proc can't tell. */
function effectiveCapabilities(): bigint {
  try {
    const [, hex] =
      /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return BigInt(`0x${hex ?? "0"}`);
  } catch {
    return 0n;
  }
}
