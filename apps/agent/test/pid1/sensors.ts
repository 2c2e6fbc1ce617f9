/** The sensors of these tests, shell scripts of any /bin/sh, and the config that names them. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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

/** Writes both scripts and a config with them; gives its path. Frames are numbered from \`first\` + 1 on. */
export function writeSensors(dir: string, node: string, first: number): string {
  const sensors = Object.entries({ orderly: ORDERLY, stubborn: STUBBORN }).map(([name, text]) => {
    const script = join(dir, `${name}.sh`);
    writeFileSync(script, `i=${first}\n${text}`);
    chmodSync(script, 0o755);
    const env = { LAST: join(dir, "last") };
    return { name, runtime: "shell", command: [script], env, stop_grace: "500ms" };
  });
  const path = join(dir, "agent.yaml");
  writeFileSync(path, JSON.stringify({ node: { name: node }, sensors }));
  return path;
}
