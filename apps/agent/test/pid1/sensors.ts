/** The sensors of these tests, shell scripts of any /bin/sh, and the config that names them. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const BRIEF_CODE = 7;

const FRAME = `printf '{"timestamp":%s,"delay":[%s],"doppler":[0],"snr":[1]}\\n' $((1783500000000 + i)) $i`;

/** Numbers its frames, and at TERM writes the last number to its file and ends. */
const ORDERLY = `
trap 'echo $i >"$LAST"; exit 0' TERM
while :; do i=$((i + 1)); ${FRAME}; sleep 0.02; done
`;

/** Takes no TERM, and leaves a daemon behind for each of its frames. */
const STUBBORN = `
trap '' TERM
while :; do
  i=$((i + 1)); ${FRAME}
  (setsid sleep 0.01 &)
  sleep 0.02
done
`;

/** Ends at once, with a code of its own. */
const BRIEF = `i=$((i + 1)); ${FRAME}; exit ${BRIEF_CODE}`;

const SCRIPTS = { orderly: ORDERLY, stubborn: STUBBORN, brief: BRIEF, added: ORDERLY };

/** What a config is to say. Frames are numbered from `first` + 1 on; `stopGrace` is how long a sensor may ignore TERM. */
export interface SensorSettings {
  readonly dir: string;
  readonly node: string;
  readonly first: number;
  readonly sensors: readonly (keyof typeof SCRIPTS)[];
  readonly stopGrace?: string;
}

/** Writes the scripts and a config with them; gives its path. `DIR/last-NAME` is where an orderly one tells its last number. */
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
