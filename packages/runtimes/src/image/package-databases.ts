/** Reads versions of installed packages from the databases of dpkg, apk and opkg, without running these programs. (A7) */
import type { FileObserver } from "../inspect/file-observer.ts";
import { readStart } from "../inspect/text-in-file.ts";

/** A text file with a paragraph for each package, and the prefixes of the lines with the package's name and version. */
interface Database {
  readonly path: string;
  readonly namePrefix: string;
  readonly versionPrefix: string;
}

/** Bytes read of a database. That of a very large image has 10 MB. */
const DATABASE_BYTES_MAX = 32 * 1024 * 1024;

const DATABASES: readonly Database[] = [
  { path: "/var/lib/dpkg/status", namePrefix: "Package: ", versionPrefix: "Version: " },
  { path: "/lib/apk/db/installed", namePrefix: "P:", versionPrefix: "V:" },
  { path: "/usr/lib/apk/db/installed", namePrefix: "P:", versionPrefix: "V:" },
  { path: "/usr/lib/opkg/status", namePrefix: "Package: ", versionPrefix: "Version: " },
  { path: "/var/lib/opkg/status", namePrefix: "Package: ", versionPrefix: "Version: " },
];

/** Distroless images have one file per package here. */
const DPKG_STATUS_DIR = "/var/lib/dpkg/status.d";

/** Records the state of the databases: a change means that programs or libraries may have changed, which invalidates the cache. */
export function observeDatabases(observer: FileObserver): void {
  for (const { path } of DATABASES) observer.observe(path);
  for (const path of [DPKG_STATUS_DIR, "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/etc/ld.so.cache"])
    observer.observe(path);
}

/** Returns a lookup of upstream versions, null for a package that is not installed. Each database is read once, when needed. */
export function packageDatabases(): (name: string) => string | null {
  const texts = new Map<string, string | undefined>();
  const read = (path: string): string | undefined => {
    if (!texts.has(path)) texts.set(path, readStart(path, DATABASE_BYTES_MAX));
    return texts.get(path);
  };
  return (name) => {
    for (const database of DATABASES) {
      const version = findVersion(read(database.path), name, database);
      if (version !== null) return version;
    }
    return findVersion(read(`${DPKG_STATUS_DIR}/${name}`), name, DATABASES[0]!);
  };
}

/** The upstream version of one installed package; null when it is not installed. */
export function packageVersion(name: string): string | null {
  return packageDatabases()(name);
}

/** Finds the upstream version of `name` in the text of a database. */
export function findVersion(
  text: string | undefined,
  name: string,
  database: Database,
): string | null {
  if (text === undefined) return null;
  const line = `${database.namePrefix}${name}\n`;
  const at = text.startsWith(line) ? 0 : text.indexOf(`\n${line}`);
  if (at < 0) return null;
  const end = text.indexOf("\n\n", at + 1);
  const paragraph = text.slice(at, end < 0 ? undefined : end);
  // A package that was removed but not purged still has a paragraph.
  if (/^Status: (?!install ok installed)/m.test(paragraph)) return null;
  const from = paragraph.indexOf(`\n${database.versionPrefix}`);
  if (from < 0) return null;
  const start = from + 1 + database.versionPrefix.length;
  const lineEnd = paragraph.indexOf("\n", start);
  return upstreamVersion(paragraph.slice(start, lineEnd < 0 ? undefined : lineEnd));
}

/** Removes the distribution's epoch and revision: `1:2.39.5-0+deb12u2` → `2.39.5`, `1.2.4_git20230717-r4` → `1.2.4`. */
export function upstreamVersion(version: string): string {
  return version
    .trim()
    .replace(/^\d+:/, "")
    .replace(/-[^-]*$/, "")
    .replace(/[.+~_](?:ds|dfsg|repack|really|git|deb\d).*$/, "");
}
