/** Small disks of their own for what must be able to run full: tmpfs, where this process may mount one. */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const BLOCK = new Uint8Array(4096);
const FILLER = "filler";

/** Why no disks can be mounted here; undefined: they can. `dir` is for a try. */
export function whyNoDisks(dir: string): string | undefined {
  const disk = Disk.mount(join(dir, "trial"), "64k");
  if (typeof disk === "string") return disk;
  disk.unmount();
  return undefined;
}

/** A mounted tmpfs. */
export class Disk {
  readonly dir: string;
  /** How often it was filled. */
  fills = 0;
  #isFull = false;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Mounts one of `size` at `dir`, which is made. A text says why not. */
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

  /** Takes every block that is free. */
  fill(): void {
    this.#isFull = true;
    this.fills++;
    const fd = openSync(join(this.dir, FILLER), "a");
    try {
      while (writeSync(fd, BLOCK) > 0);
    } catch {
      // ENOSPC, as wanted.
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
