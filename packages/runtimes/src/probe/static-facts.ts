/** Reads an interpreter's version, vendor and kind from the files installed with it, without running it. (A4) */
import { coerceVersion } from "./coerce-version.ts";
import type { Installation } from "../image-report.ts";
import type { Executable } from "../inspect/inspect-executable.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { newestFirst } from "./search-path.ts";

export interface StaticFacts {
  /** Null when the files do not settle it, so that the interpreter must be run. */
  readonly identity: Pick<Installation, "version" | "implementation"> | null;
  readonly vendor: string | null;
  readonly kind: Installation["kind"];
  /** The file that states the identity, for people; null when there is none. */
  readonly source: string | null;
}

const NOTHING: StaticFacts = { identity: null, vendor: null, kind: null, source: null };

type FactsOf = (prefix: string, program: string, observer: FileObserver) => StaticFacts;

/** Keyed by runtime. `prefix` is the parent of the program's `bin` directory. */
const FACTS: Readonly<Record<string, FactsOf>> = {
  java: javaFacts,
  python: pythonFacts,
  node: nodeFacts,
  go: goFacts,
  dotnet: dotnetFacts,
};

/** Returns no facts for a script, because the program it starts may be anywhere. */
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

/** Reads the `release` file of a Java home, whose keys are those of `java -XshowSettings`. */
function javaFacts(prefix: string, _program: string, observer: FileObserver): StaticFacts {
  // A Java 8 JDK has its java in jre/bin and the release file one level above jre.
  const isNested =
    prefix.endsWith("/jre") && observer.observe(`${prefix}/release`).at !== "present";
  const home = isNested ? prefix.slice(0, -"/jre".length) : prefix;
  const source = `${home}/release`;
  const text = observer.readText(source);
  const hasCompiler = observer.observe(`${home}/bin/javac`).at === "present";
  const kind = hasCompiler ? "jdk" : "jre";
  if (text === undefined) return { ...NOTHING, kind };
  const field = (key: string): string | null =>
    new RegExp(`^${key}="?([^"\\n]*)"?$`, "m").exec(text)?.[1]?.trim() || null;
  const vendor = field("IMPLEMENTOR");
  const version = field("JAVA_VERSION");
  const isGraal = field("GRAALVM_VERSION") !== null;
  const isOpenJ9 = /openj9/i.test(field("JVM_VARIANT") ?? "");
  const implementation = isGraal ? "graalvm" : isOpenJ9 ? "openj9" : "openjdk";
  // Oracle's name is in its own builds and in those of OpenJDK.
  const isCertain = version !== null && vendor !== null && !vendor.startsWith("Oracle");
  return { identity: isCertain ? { version, implementation } : null, vendor, kind, source };
}

function pythonFacts(prefix: string, program: string, observer: FileObserver): StaticFacts {
  const short = /^python(\d\.\d+t?)m?$/.exec(program)?.[1];
  if (short === undefined) return NOTHING;
  // The headers of a distribution are a separate package, which may have another version.
  if (prefix === "/usr") return NOTHING;
  // Up to 3.7 a build with the default allocator had an `m` in its name.
  const dirs = ["", "m"].map((flag) => `${prefix}/include/python${short}${flag}`);
  const source = `${dirs.find((dir) => observer.isDirectory(dir)) ?? dirs[0]}/patchlevel.h`;
  const version = /^#define PY_VERSION\s+"([^"]+)"/m.exec(observer.readText(source) ?? "")?.[1];
  if (version === undefined) return NOTHING;
  return { ...NOTHING, identity: { version, implementation: "cpython" }, source };
}

function nodeFacts(prefix: string, _program: string, observer: FileObserver): StaticFacts {
  const source = `${prefix}/include/node/node_version.h`;
  const text = prefix === "/usr" ? undefined : observer.readText(source);
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
  const version = /^go(\d\S*)/.exec(observer.readText(source) ?? "")?.[1];
  if (version === undefined) return NOTHING;
  return { ...NOTHING, identity: { version, implementation: "gc" }, source };
}

/** `dotnet` is installed next to its frameworks and SDKs, not in a `bin` directory. */
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

/** `/opt/x/bin/java` → `/opt/x` and `java`; `/opt/x/dotnet` → `/opt/x` and `dotnet`. */
function splitProgram(realPath: string): [prefix: string, program: string] {
  const slash = realPath.lastIndexOf("/");
  return [realPath.slice(0, slash).replace(/\/bin$/, ""), realPath.slice(slash + 1)];
}

/** The vendor of a Java according to its version output, for those whose `release` file does not name it (Java 8). */
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
