/** What the agent process can provide to sensors: another user, limits, and shared virtual environments. (A9, A10) */
import { readFileSync } from "node:fs";
import { OWN_LAUNCHER } from "@fleet/supervisor";
import type { SensorConfig } from "../config/sensor.ts";

/** The facts about the agent process that decide whether a sensor can run. */
export interface SensorHost {
  /** FLEET_RUNTIME_ENVS_DIR. */
  readonly envsDir: string | undefined;
  readonly uid: number;
  readonly gid: number;
  /**
   * Has CAP_SETUID and CAP_SETGID to start a process as another user, and CAP_KILL to end it. Root has them unless the
   * container dropped them.
   */
  readonly canSwitch: boolean;
  /** Is a static build; only that can set limits or a user. */
  readonly hasLauncher: boolean;
}

/** KILL, SETGID and SETUID. (capabilities(7)) */
const SWITCH_CAPABILITIES = (1n << 5n) | (1n << 6n) | (1n << 7n);

/** The facts about this process, as of now. */
export function thisHost(): SensorHost {
  return {
    envsDir: process.env["FLEET_RUNTIME_ENVS_DIR"],
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    canSwitch: (effectiveCapabilities() & SWITCH_CAPABILITIES) === SWITCH_CAPABILITIES,
    hasLauncher: OWN_LAUNCHER !== undefined,
  };
}

/** The user of a sensor that does not run as the agent's own user. */
export interface SensorUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user to switch to; undefined if the sensor runs as the agent's own user. Pure. */
export function userOf({ uid, gid }: SensorConfig, host: SensorHost): SensorUser | undefined {
  if (uid === undefined || gid === undefined) return undefined;
  return uid === host.uid && gid === host.gid ? undefined : { uid, gid };
}

/** Why the sensor can't have the user or limits it asks for, and the remedy. Undefined if there is no problem. Pure. */
export function switchProblem(
  config: SensorConfig,
  host: SensorHost,
): { readonly reason: string; readonly remedy: string } | undefined {
  const user = userOf(config, host);
  const asks = user !== undefined || Object.keys(config.limits).length > 0;
  if (asks && !host.hasLauncher)
    return {
      reason: "asks for a user or limits, which this build of the agent does not support",
      remedy: "use the static build, or remove uid:, gid: and limits:",
    };
  if (user === undefined || host.canSwitch) return undefined;
  return {
    reason: `must run as uid ${user.uid}, gid ${user.gid}; the agent runs as uid ${host.uid}, gid ${host.gid} and may not switch users`,
    remedy:
      "start the agent as root with CAP_SETUID, CAP_SETGID and CAP_KILL, or remove uid: and gid:",
  };
}

/** 0 if /proc is not available. */
function effectiveCapabilities(): bigint {
  try {
    const [, hex] =
      /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return BigInt(`0x${hex ?? "0"}`);
  } catch {
    return 0n;
  }
}
