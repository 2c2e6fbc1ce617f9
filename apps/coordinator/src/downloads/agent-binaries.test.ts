import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentArch } from "@fleet/protocol";
import { AgentBinaries, type OpenAgentBinary } from "./agent-binaries.ts";

const PIECE_BYTES = 1024 ** 2;

let dir: string;
let binaries: AgentBinaries;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "agents-"));
  binaries = new AgentBinaries(dir);
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

function put(arch: AgentArch, content: string | Buffer): void {
  mkdirSync(join(dir, arch), { recursive: true });
  writeFileSync(join(dir, arch, "new"), content);
  renameSync(join(dir, arch, "new"), join(dir, arch, "fleet-agent"));
}

const sha256 = (content: string | Buffer): string =>
  createHash("sha256").update(content).digest("hex");

async function open(arch: AgentArch): Promise<OpenAgentBinary> {
  const opened = await binaries.open(arch);
  if (typeof opened === "string") throw new Error(opened);
  return opened;
}

function contentOf({ fd, bytes }: OpenAgentBinary): string {
  const buffer = Buffer.alloc(bytes);
  return buffer.toString("utf8", 0, readSync(fd, buffer, 0, bytes, 0));
}

describe("agent binaries (H8)", () => {
  test("are listed with size, sha256 and the version written into them", async () => {
    put("x86_64", "\x7fELF…// fleet-version 1.2.3-rc.1+7\ncode");
    put("aarch64", "no mark");
    const list = await binaries.list();
    expect(list).toEqual([
      {
        arch: "x86_64",
        bytes: Buffer.byteLength("\x7fELF…// fleet-version 1.2.3-rc.1+7\ncode"),
        sha256: sha256("\x7fELF…// fleet-version 1.2.3-rc.1+7\ncode"),
        version: "1.2.3-rc.1+7",
      },
      { arch: "aarch64", bytes: 7, sha256: sha256("no mark"), version: null },
    ]);
  });

  test("contain their version anywhere, even across two pieces", async () => {
    const mark = "// fleet-version 1.2.3\n";
    for (let before = PIECE_BYTES - mark.length; before <= PIECE_BYTES; before++) {
      const content = Buffer.concat([Buffer.alloc(before), Buffer.from(mark), Buffer.alloc(9)]);
      put("x86_64", content);
      const opened = await open("x86_64");
      expect([opened.version, opened.sha256]).toEqual(["1.2.3", sha256(content)]);
      opened.close();
    }
  });

  test("stay unchanged while open, even if another file is renamed into place", async () => {
    put("x86_64", "old");
    const old = await open("x86_64");
    put("x86_64", "newer");
    const newer = await open("x86_64");
    expect([contentOf(old), old.sha256]).toEqual(["old", sha256("old")]);
    expect([contentOf(newer), newer.sha256]).toEqual(["newer", sha256("newer")]);
    old.close();
    newer.close();
  });

  test("are read once for concurrent requests", async () => {
    const content = Buffer.alloc(3 * PIECE_BYTES, "x");
    put("x86_64", content);
    const all = await Promise.all(Array.from({ length: 20 }, () => open("x86_64")));
    for (const opened of all) {
      expect(opened.sha256).toBe(sha256(content));
      opened.close();
    }
  });

  test("are missing for a reason: not configured, no directory, or no file for the architecture", async () => {
    expect(await new AgentBinaries(undefined).open("x86_64")).toBe("not_configured");
    expect(await new AgentBinaries(undefined).list()).toBe("not_configured");
    expect(await binaries.open("x86_64")).toBe("no_file");
    expect(await binaries.list()).toEqual([]);
    mkdirSync(join(dir, "aarch64", "fleet-agent"), { recursive: true });
    expect(await binaries.open("aarch64")).toBe("no_file");
    Bun.spawnSync(["mkfifo", join(dir, "x86_64")]);
    expect(await binaries.open("x86_64")).toBe("no_file");
    rmSync(join(dir, "x86_64"));
    mkdirSync(join(dir, "x86_64"));
    Bun.spawnSync(["mkfifo", join(dir, "x86_64", "fleet-agent")]);
    expect(await binaries.open("x86_64")).toBe("no_file");
    put("x86_64", "x");
    rmSync(dir, { recursive: true });
    expect(await binaries.open("x86_64")).toBe("no_directory");
    expect(await binaries.list()).toBe("no_directory");
  });
});
