/** Versions of installed packages, from the files in which dpkg, apk and opkg keep them. Their programs are not run. (A7) */
import type { FileObserver } from "../inspect/file-observer.ts";
import { startOf } from "../inspect/text-in-file.ts";

/** Which paragraph of a database is a package's, and which line of that its version. */
interface Database {
  readonly path: string;
  readonly name: string;
  readonly version: string;
}

/** Databases larger than this are read up to here: an image with everything in it has 10 MB. */
const DATABASE_BYTES_MAX = 32 * 1024 * 1024;

const DATABASES: readonly Database[] = [
  { path: "/var/lib/dpkg/status", name: "Package: ", version: "Version: " },
  { path: "/lib/apk/db/installed", name: "P:", version: "V:" },
  { path: "/usr/lib/apk/db/installed", name: "P:", version: "V:" },
  { path: "/usr/lib/opkg/status", name: "Package: ", version: "Version: " },
  { path: "/var/lib/opkg/status", name: "Package: ", version: "Version: " },
];

/** Distroless images have a file for each package. */
const DPKG_PIECES = "/var/lib/dpkg/status.d";

/** Remembers that the databases were looked at: their change tells of changed libraries and programs. */
export function lookAtDatabases(observer: FileObserver): void {
  for (const { path } of DATABASES) observer.at(path);
  for (const path of [DPKG_PIECES, "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/etc/ld.so.cache"])
    observer.at(path);
}

/** Reads each database once, at the first question. */
export function packageDatabases(): (name: string) => string | null {
  const texts = new Map<string, string | undefined>();
  const read = (path: string): string | undefined => {
    if (!texts.has(path)) texts.set(path, startOf(path, DATABASE_BYTES_MAX));
    return texts.get(path);
  };
  return (name) => {
    for (const database of DATABASES) {
      const version = findVersion(read(database.path), name, database);
      if (version !== null) return version;
    }
    return findVersion(read(`${DPKG_PIECES}/${name}`), name, DATABASES[0]!);
  };
}

/** The upstream version of one installed package, null when it isn't there. */
export function packageVersion(name: string): string | null {
  return packageDatabases()(name);
}

/** The upstream version of `name` in the text of a database. */
export function findVersion(
  text: string | undefined,
  name: string,
  database: Database,
): string | null {
  if (text === undefined) return null;
  const line = `${database.name}${name}\n`;
  const at = text.startsWith(line) ? 0 : text.indexOf(`\n${line}`);
  if (at < 0) return null;
  const end = text.indexOf("\n\n", at + 1);
  const paragraph = text.slice(at, end < 0 ? undefined : end);
  // A package that was removed but not purged has its paragraph still.
  if (/^Status: (?!install ok installed)/m.test(paragraph)) return null;
  const from = paragraph.indexOf(`\n${database.version}`);
  if (from < 0) return null;
  const start = from + 1 + database.version.length;
  const lineEnd = paragraph.indexOf("\n", start);
  return upstreamVersion(paragraph.slice(start, lineEnd < 0 ? undefined : lineEnd));
}

/** Without the distribution's epoch and revision: `1:2.39.5-0+deb12u2` → `2.39.5`, `1.2.4_git20230717-r4` → `1.2.4`. */
export function upstreamVersion(version: string): string {
  return version
    .trim()
    .replace(/^\d+:/, "")
    .replace(/-[^-]*$/, "")
    .replace(/[.+~_](?:ds|dfsg|repack|really|git|deb\d).*$/, "");
}
