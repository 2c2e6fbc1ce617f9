/** Reads facts about the image: distribution, kernel, C library, limits, user. Reads small files only; never throws. (A7) */
import { machine, release } from "node:os";
import { cgroupLimits } from "./cgroup-limits.ts";
import type { ImageFacts } from "../image-report.ts";
import { readSmallText } from "../inspect/file-observer.ts";
import { realPathOf } from "../inspect/inspect-executable.ts";
import { printable } from "../inspect/printable.ts";
import { packageVersion } from "./package-databases.ts";
import { readStart, textAfter } from "../inspect/text-in-file.ts";

/** Paths of the C libraries' loaders, by `process.arch`. */
const LOADERS: Readonly<
  Record<string, { readonly glibc: readonly string[]; readonly musl: string }>
> = {
  x64: { glibc: ["/lib64/ld-linux-x86-64.so.2"], musl: "/lib/ld-musl-x86_64.so.1" },
  arm64: {
    glibc: ["/lib/ld-linux-aarch64.so.1", "/lib64/ld-linux-aarch64.so.1"],
    musl: "/lib/ld-musl-aarch64.so.1",
  },
};

/** musl's loader is also its library, about 600 kB. */
const MUSL_BYTES_MAX = 2 * 1024 * 1024;

/** `path` is the search path in use. In an image with both C libraries, glibc is reported unless the image is Alpine. */
export function imageFacts(path: string): ImageFacts {
  const os = parseOsRelease(
    readSmallText("/etc/os-release") ?? readSmallText("/usr/lib/os-release") ?? "",
  );
  return {
    os,
    kernel: release(),
    arch: machine(),
    libc: findLibc(os?.id === "alpine"),
    cgroup: cgroupLimits(readSmallText),
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    path,
  };
}

/** Parses os-release(5). Null when it has neither a name nor an id. */
export function parseOsRelease(text: string): ImageFacts["os"] {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const parts = /^([A-Z_0-9]+)=(.*)$/.exec(line.trim());
    if (parts === null) continue;
    const value = (parts[2] ?? "").replace(/^(["'])(.*)\1$/, "$2").replace(/\\(["'`$\\])/g, "$1");
    fields.set(parts[1] ?? "", printable(value, 200));
  }
  const id = fields.get("ID");
  const name = fields.get("PRETTY_NAME") ?? fields.get("NAME") ?? id;
  if (name === undefined) return null;
  // os-release(5): an absent ID means "linux".
  return { id: id ?? "linux", version: fields.get("VERSION_ID") ?? null, pretty_name: name };
}

function findLibc(preferMusl: boolean): ImageFacts["libc"] {
  const loaders = LOADERS[process.arch];
  const musl = loaders !== undefined && realPathOf(loaders.musl) !== undefined;
  const muslVersion = musl ? versionOfMusl(loaders.musl) : null;
  if (musl && preferMusl) return { family: "musl", version: muslVersion };
  for (const loader of loaders?.glibc ?? []) {
    const realPath = realPathOf(loader);
    if (realPath !== undefined) return { family: "glibc", version: glibcVersion(realPath) };
  }
  return { family: musl ? "musl" : "none", version: muslVersion };
}

/** From the package database, or else the only text in the loader that looks like a version. */
function versionOfMusl(loader: string): string | null {
  const packaged = packageVersion("musl");
  if (packaged !== null) return packaged;
  const realPath = realPathOf(loader) ?? loader;
  return /\0(1\.[12]\.\d+)\0/.exec(readStart(realPath, MUSL_BYTES_MAX) ?? "")?.[1] ?? null;
}

/** From glibc's banner, "… stable release version 2.36.", in the library next to its loader. */
function glibcVersion(loader: string): string | null {
  const dir = loader.slice(0, loader.lastIndexOf("/"));
  const text = textAfter(`${dir}/libc.so.6`, "release version ", 16);
  return /^\d+(?:\.\d+)+/.exec(text ?? "")?.[0] ?? null;
}
