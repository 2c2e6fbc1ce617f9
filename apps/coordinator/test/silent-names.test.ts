/** A name server that swallows packets costs the coordinator nothing but the answers it would have given. (H12) */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const INSIDE = join(import.meta.dir, "rig/silent-names.ts");
const IS_ROOT = process.getuid?.() === 0;

test.skipIf(!IS_ROOT)(
  "a silent name server delays no register and no check-in, with sixty nodes and three sources by dead names (H12)",
  async () => {
    const dir = mkdtempSync(join(tmpdir(), "fleet-names-"));
    writeFileSync(join(dir, "resolv.conf"), "nameserver 127.0.0.1\n");
    const script = `ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$1" "$2"`;
    const child = Bun.spawn(
      [
        "unshare",
        "--net",
        "--mount",
        "sh",
        "-c",
        script,
        join(dir, "resolv.conf"),
        process.execPath,
        INSIDE,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const out = await child.stdout.text();
    await child.exited;
    rmSync(dir, { recursive: true });
    const seen = JSON.parse(out.trim().split("\n").at(-1)!) as Record<string, number>;
    expect(seen).toMatchObject({ answered: seen["expected"]!, failed: 0 });
    // It was asked, so the names were not passed over.
    expect(seen["swallowed"]).toBeGreaterThan(0);
  },
);
