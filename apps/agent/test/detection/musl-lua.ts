/** A real interpreter for musl, of which Debian has none: Lua, compiled from Debian's source with Debian's musl. For a root like Alpine's. */
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fetchPackages, type Packages, problemOf } from "../roots/packages.ts";
import { thisArch } from "../roots/processor.ts";

/** `program` is outside; it needs musl's loader, `/lib/ld-musl-ARCH.so.1`, which is at `loader`. */
export interface MuslLua {
  readonly program: string;
  readonly version: string;
  readonly loader: string;
  readonly muslVersion: string;
}

/** Returns it, compiling it first if needed; or the reason why it is not available. */
export async function muslLua(): Promise<MuslLua | string> {
  const packages = await fetchPackages(thisArch);
  if (typeof packages === "string") return packages;
  const source = packages.dir("lua5.4");
  const archive = readdirSync(source).find((name) => name.includes(".orig.tar."))!;
  const program = join(source, "lua");
  const problem = existsSync(program)
    ? undefined
    : await compile(packages, join(source, archive), program);
  return (
    problem ?? {
      program,
      version: /_([\d.]+)\.orig/.exec(archive)![1]!,
      loader: packages.file("musl", `lib/ld-musl-${thisArch}.so.1`),
      muslVersion: packages.version("musl"),
    }
  );
}

/** The arguments of musl's own compiler wrapper, with the paths of the unpacked packages. */
async function compile(
  packages: Packages,
  archive: string,
  program: string,
): Promise<string | undefined> {
  const dir = mkdtempSync(join(packages.dir("lua5.4"), "building-"));
  try {
    const unpack = ["tar", "-xf", archive, "--strip-components=1"];
    const problem = await problemOf(unpack, dir);
    if (problem !== undefined) return problem;
    const triple = `${thisArch}-linux-musl`;
    const lib = (name: string): string => packages.file("musl-dev", `lib/${triple}/${name}`);
    const sources = readdirSync(join(dir, "src"))
      .filter((name) => name.endsWith(".c") && name !== "luac.c")
      .map((name) => join("src", name));
    const include = ["-isystem", packages.file("musl-dev", `include/${triple}`)];
    const link = ["-nostdlib", "-no-pie", `-Wl,-dynamic-linker,/lib/ld-musl-${thisArch}.so.1`];
    const start = [lib("crt1.o"), lib("crti.o")];
    const shared = packages.file("musl", `lib/${triple}`);
    const end = [`-L${shared}`, "-lc", "-lgcc", lib("crtn.o")];
    const flags = ["-O0", "-std=gnu99", "-nostdinc", ...include, "-isystem", ownHeaders()];
    const failed = await problemOf(
      ["gcc", ...flags, ...link, "-o", "lua", ...start, ...sources, ...end],
      dir,
    );
    if (failed === undefined) renameSync(join(dir, "lua"), program);
    return failed;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The headers of the compiler, not of a C library. */
function ownHeaders(): string {
  return Bun.spawnSync(["gcc", "-print-file-name=include"]).stdout.toString().trim();
}
