/** The sensors of these tests, as scripts for any /bin/sh, and their config. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const BRIEF_CODE = 7;

const FRAME = `printf '{"timestamp":%s,"delay":[%s],"doppler":[0],"snr":[1]}\\n' $((1783500000000 + i)) $i`;

/** Numbers its frames; at SIGTERM writes the last number to its file and exits. */
const ORDERLY = `
trap 'echo $i >"$LAST"; exit 0' TERM
while :; do i=$((i + 1)); ${FRAME}; sleep 0.02; done
`;

/** Ignores SIGTERM, and leaves a daemon behind for each of its frames. */
const STUBBORN = `
trap '' TERM
while :; do
  i=$((i + 1)); ${FRAME}
  (setsid sleep 0.01 &)
  sleep 0.02
done
`;

/** Exits at once with a distinct code. */
const BRIEF = `i=$((i + 1)); ${FRAME}; exit ${BRIEF_CODE}`;

const SCRIPTS = { orderly: ORDERLY, stubborn: STUBBORN, brief: BRIEF, added: ORDERLY };

/** The content of a config. Frames are numbered from `first` + 1; `stopGrace` is how long a sensor may ignore SIGTERM. */
export interface SensorSettings {
  readonly dir: string;
  readonly node: string;
  readonly first: number;
  readonly sensors: readonly (keyof typeof SCRIPTS)[];
  readonly stopGrace?: string;
}

/** Writes the scripts and a config for them; returns its path. A sensor that stops orderly writes its last number to `DIR/last-NAME`. */
export function writeSensors(settings: SensorSettings): string {
  const { dir, node, first, stopGrace = "500ms" } = settings;
  const sensors = settings.sensors.map((name) => {
    const script = join(dir, `${name}.sh`);
    writeFileSync(script, `i=${first}\n${SCRIPTS[name]}`);
    chmodSync(script, 0o755);
    const env = { LAST: join(dir, `last-${name}`) };
    return { name, runtime: "shell", command: [script], env, stop_grace: stopGrace };
  });
  const path = join(dir, "agent.yaml");
  writeFileSync(path, JSON.stringify({ node: { name: node }, sensors }));
  return path;
}
