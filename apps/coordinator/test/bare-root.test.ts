/**
 * The coordinator as in its image: PID 1 in a read-only root with only Fleet's files and /proc, running as a uid without a name.
 * There is no /tmp, no /etc and no shell.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./rig/fleet.ts";

const DIST = join(import.meta.dir, "../../../dist");
const UID = 65_532;
const ARCH = process.arch === "arm64" ? "aarch64" : "x86_64";

/** Builds a root and runs the coordinator in it. $1: the root, $2: dist, $3: data, $4: secrets; the rest are its arguments. */
const IN_ROOT = `
set -e
root=$1 dist=$2 data=$3 secrets=$4
shift 4
mount -t tmpfs -o mode=755 none "$root"
mkdir -p "$root/proc" "$root/usr/bin" "$root/data" "$root/secrets" "$root/usr/share/fleet/agents/${ARCH}"
for name in fleet-coordinator fleet-tracker; do
  : >"$root/usr/bin/$name"
  mount --bind "$dist/$name" "$root/usr/bin/$name"
done
: >"$root/usr/share/fleet/agents/${ARCH}/fleet-agent"
mount --bind "$dist/fleet-agent" "$root/usr/share/fleet/agents/${ARCH}/fleet-agent"
mount --bind "$data" "$root/data"
mount --bind "$secrets" "$root/secrets"
mount -t proc none "$root/proc"
mount -o remount,ro "$root"
chroot=$(command -v chroot)
cd "$root"
exec env -i PATH=/usr/bin FLEET_AGENT_BINARIES=/usr/share/fleet/agents FLEET_ENROLL_TOKEN_FILE=/secrets/enroll_token \\
  FLEET_OPERATOR_TOKEN_FILE=/secrets/operator_token FLEET_PUSH_TOKEN_FILE=/secrets/push_token \\
  "$chroot" --userspec=${UID}:${UID} "$root" /usr/bin/fleet-coordinator "$@"
`;
const SERVE = ["serve", "--data-dir", "/data", "--http", "127.0.0.1:0", "--frames", "127.0.0.1:0"];

/** Reports whether these tests cannot run here, and says why. In CI they always run. */
function isUnsupported(): boolean {
  const isRoot = process.getuid!() === 0;
  if ((isRoot && Bun.which("unshare") !== null) || process.env["CI"] !== undefined) return false;
  console.log("skipped the coordinator in a bare root: needs root and unshare");
  return true;
}

let top: string;
const running: Started[] = [];

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "bare-root-"));
  chmodSync(top, 0o755);
  for (const name of ["root", "data", "secrets"]) mkdirSync(join(top, name));
  for (const name of ["data", "secrets"]) {
    chownSync(join(top, name), UID, UID);
    chmodSync(join(top, name), 0o700);
  }
});
afterEach(async () => {
  for (const { child, first } of running.splice(0)) {
    // The change of uid cleared its parent-death signal.
    const pid = first();
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    child.kill("SIGKILL");
    await child.exited;
  }
  rmSync(top, { recursive: true, force: true });
});

interface Started {
  readonly child: Bun.Subprocess;
  readonly out: () => string;
  /** Returns the pid of the namespace's PID 1, which a container runtime would signal; undefined after its end. */
  readonly first: () => number | undefined;
}

function start(...args: readonly string[]): Started {
  const namespaces = ["-m", "-p", "-f", "--kill-child", "--propagation", "private"];
  const quota = [join(top, "root"), DIST, join(top, "data"), join(top, "secrets")];
  const child = Bun.spawn(
    ["unshare", ...namespaces, "sh", "-c", IN_ROOT, "sh", ...quota, ...args],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let out = "";
  for (const stream of [child.stdout, child.stderr]) {
    void (async () => {
      for await (const chunk of stream) out += new TextDecoder().decode(chunk);
    })();
  }
  const started = { child, out: () => out, first: () => firstOf(child) };
  running.push(started);
  return started;
}

async function untilReady({ child, out }: Started): Promise<number> {
  const line = await until("the coordinator is ready", () => {
    if (child.exitCode !== null)
      throw new Error(`the coordinator ended with ${child.exitCode}: ${out()}`);
    return /"http_port":(\d+).*"msg":"ready"/.exec(out()) ?? undefined;
  });
  return Number(line[1]);
}

function firstOf({ pid, exitCode, signalCode }: Bun.Subprocess): number | undefined {
  if (exitCode !== null || signalCode !== null) return undefined;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return children === "" ? undefined : Number(children);
}

describe.skipIf(isUnsupported())("a coordinator alone in its root", () => {
  test("creates its tokens, serves, offers agents, and exits with 143 on SIGTERM (H1, H8)", async () => {
    const secrets = start("secrets", "/secrets");
    expect([await secrets.child.exited, secrets.out()]).toEqual([
      0,
      "created /secrets/enroll_token, /secrets/operator_token, /secrets/push_token\n",
    ]);
    const serving = start(...SERVE);
    const url = `http://127.0.0.1:${await untilReady(serving)}`;
    const token = readFileSync(join(top, "secrets/enroll_token"), "utf8").trim();
    const offered = await fetch(`${url}/api/v1/agent/binary?arch=${ARCH}`, {
      headers: { "X-Fleet-Agent-Token": token },
    });
    const sha256 = new Bun.CryptoHasher("sha256").update(await offered.arrayBuffer()).digest("hex");
    expect([offered.status, offered.headers.get("X-Fleet-Agent-Sha256")]).toEqual([200, sha256]);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    process.kill(serving.first()!, "SIGTERM");
    expect(await serving.child.exited).toBe(143);
    expect(serving.out()).not.toContain('"level":"error"');
    expect(readdirSync(join(top, "data"))).toContain("coordinator.db");
  });

  test("keeps a second coordinator in another container off its volume until it ends (R1)", async () => {
    await start("secrets", "/secrets").child.exited;
    const first = start(...SERVE);
    await untilReady(first);
    const second = start(...SERVE);
    expect([await second.child.exited, second.out()]).toEqual([
      75,
      "fleet-coordinator: data directory /data is in use by another coordinator\n",
    ]);
    process.kill(first.first()!, "SIGKILL");
    await first.child.exited;
    await untilReady(start(...SERVE));
  });

  test("names a volume's owner and its own uid if it cannot write there", async () => {
    await start("secrets", "/secrets").child.exited;
    chownSync(join(top, "data"), 0, 0);
    const { child, out } = start(...SERVE);
    expect([await child.exited, out()]).toEqual([
      1,
      "fleet-coordinator: data directory /data can't be written by uid 65532: /data belongs to uid 0 (mode 0700)\n",
    ]);
  });
});
