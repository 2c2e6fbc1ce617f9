/** What the files beside an interpreter say of it, without running it. (A4) */
import { coerceVersion } from "./coerce-version.ts";
import type { Installation } from "../image-report.ts";
import type { Executable } from "../inspect/inspect-executable.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { newestFirst } from "./search-path.ts";

export interface StaticFacts {
  /** Null where the files leave room for doubt, so that only running it would tell. */
  readonly identity: Pick<Installation, "version" | "implementation"> | null;
  readonly vendor: string | null;
  readonly kind: Installation["kind"];
  /** The file it stands in, for a person; null when there is none. */
  readonly source: string | null;
}

const NOTHING: StaticFacts = { identity: null, vendor: null, kind: null, source: null };

type FactsOf = (prefix: string, program: string, observer: FileObserver) => StaticFacts;

/** By runtime. `prefix` is the directory above the program's `bin`. */
const FACTS: Readonly<Record<string, FactsOf>> = {
  java: javaFacts,
  python: pythonFacts,
  node: nodeFacts,
  go: goFacts,
  dotnet: dotnetFacts,
};

/** Nothing is certain for a script: what it starts may lie anywhere. */
export function staticFacts(
  runtime: string,
  executable: Executable,
  observer: FileObserver,
): StaticFacts {
  const facts = FACTS[runtime];
  if (facts === undefined || executable.format === "script") return NOTHING;
  const [prefix, program] = splitProgram(executable.realPath);
  return facts(prefix, program, observer);
}

/** The `release` file of a Java home; its keys are those that `java -XshowSettings` knows. */
function javaFacts(prefix: string, _program: string, observer: FileObserver): StaticFacts {
  // A JDK of Java 8 has its java in jre/bin, and the file above that.
  const isNested = prefix.endsWith("/jre") && observer.at(`${prefix}/release`).at !== "there";
  const home = isNested ? prefix.slice(0, -"/jre".length) : prefix;
  const source = `${home}/release`;
  const text = observer.text(source);
  const hasCompiler = observer.at(`${home}/bin/javac`).at === "there";
  const kind = hasCompiler ? "jdk" : "jre";
  if (text === undefined) return { ...NOTHING, kind };
  const field = (key: string): string | null =>
    new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(text)?.[1]?.trim() || null;
  const vendor = field("IMPLEMENTOR");
  const version = field("JAVA_VERSION");
  const isGraal = field("GRAALVM_VERSION") !== null;
  const isOpenJ9 = /openj9/i.test(field("JVM_VARIANT") ?? "");
  const implementation = isGraal ? "graalvm" : isOpenJ9 ? "openj9" : "openjdk";
  // Oracle signs its own and OpenJDK's builds alike.
  const isCertain = version !== null && vendor !== null && !vendor.startsWith("Oracle");
  return { identity: isCertain ? { version, implementation } : null, vendor, kind, source };
}

function pythonFacts(prefix: string, program: string, observer: FileObserver): StaticFacts {
  const short = /^python(\d\.\d+t?)m?$/.exec(program)?.[1];
  if (short === undefined) return NOTHING;
  // A distribution's headers are a package of their own, which may be of another version.
  if (prefix === "/usr") return NOTHING;
  // Up to 3.7 a build with the usual allocator had an `m` in its name.
  const dirs = ["", "m"].map((flag) => `${prefix}/include/python${short}${flag}`);
  const source = `${dirs.find((dir) => observer.isDirectory(dir)) ?? dirs[0]}/patchlevel.h`;
  const version = /^#define PY_VERSION\s+"([^"]+)"/m.exec(observer.text(source) ?? "")?.[1];
  if (version === undefined) return NOTHING;
  return { ...NOTHING, identity: { version, implementation: "cpython" }, source };
}

function nodeFacts(prefix: string, _program: string, observer: FileObserver): StaticFacts {
  const source = `${prefix}/include/node/node_version.h`;
  const text = prefix === "/usr" ? undefined : observer.text(source);
  if (text === undefined) return NOTHING;
  const part = (name: string): string | undefined =>
    new RegExp(`^#define NODE_${name}_VERSION (\\d+)$`, "m").exec(text)?.[1];
  const [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"].map(part);
  if (major === undefined || minor === undefined || patch === undefined) return NOTHING;
  const version = `${major}.${minor}.${patch}`;
  return { ...NOTHING, identity: { version, implementation: "node" }, source };
}

function goFacts(prefix: string, _program: string, observer: FileObserver): StaticFacts {
  const source = `${prefix}/VERSION`;
  const version = /^go(\d\S*)/.exec(observer.text(source) ?? "")?.[1];
  if (version === undefined) return NOTHING;
  return { ...NOTHING, identity: { version, implementation: "gc" }, source };
}

/** dotnet lies beside its frameworks and SDKs, not in a `bin`. */
function dotnetFacts(prefix: string, _program: string, observer: FileObserver): StaticFacts {
  const root = observer.isDirectory(`${prefix}/shared`) ? prefix : `${prefix}/bin`;
  const source = `${root}/shared/Microsoft.NETCore.App`;
  const version = observer
    .list(source)
    .filter((name) => coerceVersion(name) !== null)
    .toSorted(newestFirst)[0];
  const kind = observer.list(`${root}/sdk`).some((name) => /^\d/.test(name)) ? "sdk" : "runtime";
  if (version === undefined) return { ...NOTHING, kind };
  return { identity: { version, implementation: "coreclr" }, vendor: null, kind, source };
}

/** `/opt/x/bin/java` → `/opt/x`, `java`; outside a `bin`, the directory itself. */
function splitProgram(realPath: string): [prefix: string, program: string] {
  const slash = realPath.lastIndexOf("/");
  return [realPath.slice(0, slash).replace(/\/bin$/, ""), realPath.slice(slash + 1)];
}

/** Java's vendor from its banner, for those whose `release` file doesn't name it (Java 8). */
export function javaVendor(banner: string): string | null {
  return VENDORS.find(([mark]) => mark.test(banner))?.[1] ?? null;
}

const VENDORS: readonly (readonly [mark: RegExp, vendor: string])[] = [
  [/Temurin|AdoptOpenJDK/, "Eclipse Adoptium"],
  [/Corretto/, "Amazon.com Inc."],
  [/Zulu|Zing/, "Azul Systems, Inc."],
  [/Microsoft/, "Microsoft"],
  [/Semeru|\bIBM\b/, "IBM Corporation"],
  [/SapMachine/, "SAP SE"],
  [/Red_Hat/, "Red Hat, Inc."],
  [/Debian|\+?deb\d+u\d/, "Debian"],
  [/buntu/, "Ubuntu"],
  [/Java\(TM\)|Oracle/, "Oracle Corporation"],
];
