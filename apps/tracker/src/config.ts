/**
 * The tracker's parameters: the defaults and a YAML file that overrides them. Sections and keys with the same meaning are named
 * as in the public retina-tracker, so that its config file can be used unchanged; unknown keys are reported and ignored. All
 * invalid values are reported together. Parsed once by `main.ts`.
 */
import { HISTORY_MAX } from "./tracks/detection-history.ts";
import type { NoiseConfig } from "./estimation/measurement-noise.ts";
import type { LifeRules } from "./tracks/track.ts";

/** The parameters of a tracker. */
export interface TrackerConfig {
  readonly life: LifeRules;
  /** Detections weaker than this are ignored, dB. */
  readonly snrMinDb: number;
  /** Largest squared Mahalanobis distance between a prediction and its detection (χ², 2 degrees of freedom; 16 is 99.97 %). */
  readonly gateThreshold: number;
  /** Detections per event, ≤ HISTORY_MAX. */
  readonly detectionWindow: number;
  /** Center frequency fc, Hz; null: learned from the stream. */
  readonly centerFrequencyHz: number | null;
  /** Initial measurement noise, which is then learned. */
  readonly measurementNoise: NoiseConfig;
  /** Standard deviation of the bistatic range acceleration of a new track, km/s². With 10 m/s², a turn of 2 g is within two of them. */
  readonly rangeAccelerationSd: number;
  /**
   * Spectral densities of the bistatic range jerk in steady flight and in transitions between straight flight and a turn,
   * km²/s⁵: 2σ²/τ (R. A. Singer, IEEE Trans. Aerosp. Electron. Syst. 6, 1970).
   */
  readonly rangeJerkDensity: { readonly steady: number; readonly turning: number };
  /** Default listening address. */
  readonly tcp: { readonly host: string; readonly port: number };
}

/** An invalid value, with its path (`tracker.n_window`). */
export interface ConfigProblem {
  readonly path: string;
  readonly message: string;
}

export type ConfigResult =
  | {
      readonly ok: true;
      readonly config: TrackerConfig;
      /** Unknown sections and keys (`adsb`, `tracker.n_coast`). */
      readonly ignored: readonly string[];
    }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** The constraint on a value. */
type Rule =
  | {
      readonly is: "number";
      readonly min: number;
      readonly max: number;
      readonly whole?: true;
      readonly nullable?: true;
    }
  | { readonly is: "string" };

const FRAMES_MAX = 1000;
const PORT_MAX = 65_535;

const RULES: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  tracker: {
    m_threshold: { is: "number", min: 1, max: FRAMES_MAX, whole: true },
    n_window: { is: "number", min: 1, max: FRAMES_MAX, whole: true },
    n_delete: { is: "number", min: 1, max: FRAMES_MAX, whole: true },
    confirm_probability: { is: "number", min: 0.5, max: 0.999_999 },
    drop_probability: { is: "number", min: 0, max: 0.5 },
    min_snr: { is: "number", min: -100, max: 100 },
    gate_threshold: { is: "number", min: 0.1, max: 1000 },
    detection_window: { is: "number", min: 1, max: HISTORY_MAX, whole: true },
  },
  radar: { center_frequency: { is: "number", min: 1e6, max: 1e11, nullable: true } },
  measurement_noise: {
    delay: { is: "number", min: 1e-6, max: 1000 },
    doppler: { is: "number", min: 1e-6, max: 10_000 },
  },
  process_noise: {
    range_acceleration: { is: "number", min: 1e-9, max: 10 },
    range_jerk: { is: "number", min: 1e-15, max: 10 },
    turn_jerk: { is: "number", min: 1e-15, max: 10 },
  },
  tcp: { host: { is: "string" }, port: { is: "number", min: 0, max: PORT_MAX, whole: true } },
};

/** The valid values of a file, by path. */
type Values = ReadonlyMap<string, number | string | null>;

/** Validates a parsed YAML document and merges it over the defaults. An empty document yields the defaults. */
export function parseConfig(document: unknown): ConfigResult {
  const values = new Map<string, number | string | null>();
  const problems: ConfigProblem[] = [];
  const ignored: string[] = [];
  const root = document ?? {};
  if (!isMapping(root))
    return { ok: false, problems: [{ path: "(file)", message: "is not a mapping" }] };
  for (const [section, content] of Object.entries(root)) {
    const rules = RULES[section];
    if (rules === undefined || !Object.hasOwn(RULES, section)) {
      ignored.push(section);
    } else if (content !== null && !isMapping(content)) {
      problems.push({ path: section, message: "must be a mapping" });
    } else {
      checkSection(section, content ?? {}, rules, values, problems, ignored);
    }
  }
  const config = build(values);
  if (config.life.hitsMin > config.life.window) {
    problems.push({ path: "tracker.m_threshold", message: "must not exceed tracker.n_window" });
  }
  return problems.length === 0 ? { ok: true, config, ignored } : { ok: false, problems };
}

function checkSection(
  section: string,
  content: Readonly<Record<string, unknown>>,
  rules: Readonly<Record<string, Rule>>,
  values: Map<string, number | string | null>,
  problems: ConfigProblem[],
  ignored: string[],
): void {
  for (const [key, value] of Object.entries(content)) {
    const path = `${section}.${key}`;
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule === undefined) {
      ignored.push(path);
      continue;
    }
    const message = problemOf(value, rule);
    if (message !== undefined) problems.push({ path, message });
    else values.set(path, value as number | string | null);
  }
}

/** The message for a `value` that violates `rule`, or undefined. */
function problemOf(value: unknown, rule: Rule): string | undefined {
  if (rule.is === "string") {
    return typeof value === "string" && value !== "" ? undefined : "must be a non-empty string";
  }
  if (value === null && rule.nullable === true) return undefined;
  const kind = rule.whole === true ? "a whole number" : "a number";
  const message = `must be ${kind} from ${rule.min} to ${rule.max}`;
  if (typeof value !== "number" || !(value >= rule.min && value <= rule.max)) return message;
  return rule.whole === true && !Number.isInteger(value) ? message : undefined;
}

/** Builds the configuration from `values` and the defaults. */
function build(values: Values): TrackerConfig {
  const number = (path: string, fallback: number): number => {
    const value = values.get(path);
    return typeof value === "number" ? value : fallback;
  };
  const host = values.get("tcp.host");
  const centerFrequencyHz = values.get("radar.center_frequency");
  return {
    life: {
      confirmProbability: number("tracker.confirm_probability", 0.99),
      hitsMin: number("tracker.m_threshold", 3),
      window: number("tracker.n_window", 20),
      dropProbability: number("tracker.drop_probability", 0.1),
      missedMax: number("tracker.n_delete", 100),
    },
    snrMinDb: number("tracker.min_snr", 0),
    gateThreshold: number("tracker.gate_threshold", 16),
    detectionWindow: number("tracker.detection_window", HISTORY_MAX),
    centerFrequencyHz: typeof centerFrequencyHz === "number" ? centerFrequencyHz : null,
    measurementNoise: {
      delayKm: number("measurement_noise.delay", 0.13),
      dopplerHz: number("measurement_noise.doppler", 1.5),
    },
    rangeAccelerationSd: number("process_noise.range_acceleration", 0.01),
    rangeJerkDensity: {
      steady: number("process_noise.range_jerk", 2e-6),
      turning: number("process_noise.turn_jerk", 1e-3),
    },
    tcp: { host: typeof host === "string" ? host : "0.0.0.0", port: number("tcp.port", 3012) },
  };
}

/** `capture.fc` of a blah2 config, Hz; undefined when it is missing or out of bounds. */
export function blah2CenterFrequency(document: unknown): number | undefined {
  const capture = isMapping(document) ? document["capture"] : undefined;
  const result = parseConfig({
    radar: { center_frequency: isMapping(capture) ? capture["fc"] : undefined },
  });
  return result.ok ? (result.config.centerFrequencyHz ?? undefined) : undefined;
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The default parameters. */
export const DEFAULT_CONFIG: TrackerConfig = build(new Map());
