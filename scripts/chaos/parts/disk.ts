/** Small file systems that the chaos test can fill: tmpfs, where this process may mount one. */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const BLOCK = new Uint8Array(4096);
const FILLER = "filler";

/** Returns why no disk can be mounted here; undefined if one can. Tries it in `dir`. */
export function whyNoDisks(dir: string): string | undefined {
  const disk = Disk.mount(join(dir, "trial"), "64k");
  if (typeof disk === "string") return disk;
  disk.unmount();
  return undefined;
}

/** A mounted tmpfs. */
export class Disk {
  readonly dir: string;
  /** How often it has been filled. */
  fills = 0;
  #isFull = false;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Creates `dir` and mounts a disk there; `size` is as for mount(8). Returns the reason as a string if that fails. */
  static mount(dir: string, size: string): Disk | string {
    mkdirSync(dir, { recursive: true });
    if (Bun.which("mount") === null) return "there is no mount command";
    const options = `size=${size},mode=0700`;
    const { exitCode, stderr } = run(["mount", "-t", "tmpfs", "-o", options, "fleet-chaos", dir]);
    return exitCode === 0 ? new Disk(dir) : stderr.trim();
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** Uses every free block. */
  fill(): void {
    this.#isFull = true;
    this.fills++;
    const fd = openSync(join(this.dir, FILLER), "a");
    try {
      while (writeSync(fd, BLOCK) > 0);
    } catch {
      // ENOSPC, as intended.
    } finally {
      closeSync(fd);
    }
  }

  free(): void {
    rmSync(join(this.dir, FILLER), { force: true });
    this.#isFull = false;
  }

  unmount(): void {
    run(["umount", "-l", this.dir]);
  }
}

function run(command: string[]): { readonly exitCode: number; readonly stderr: string } {
  const { exitCode, stderr } = Bun.spawnSync(command);
  return { exitCode, stderr: stderr.toString() };
}
