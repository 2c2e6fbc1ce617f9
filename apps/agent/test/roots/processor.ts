/** The processors the agent is built for, as each of those who have a say calls them. */

export type Arch = "x86_64" | "aarch64";

/** What differs between processors. */
export interface Processor {
  readonly arch: Arch;
  /** As Bun calls it. */
  readonly bunArch: string;
  /** As Debian calls it. */
  readonly debianArch: string;
  readonly ldso: string;
  readonly triple: string;
}

export const PROCESSORS: Readonly<Record<Arch, Processor>> = {
  x86_64: {
    arch: "x86_64",
    bunArch: "x64",
    debianArch: "amd64",
    ldso: "/lib64/ld-linux-x86-64.so.2",
    triple: "x86_64-linux-gnu",
  },
  aarch64: {
    arch: "aarch64",
    bunArch: "arm64",
    debianArch: "arm64",
    ldso: "/lib/ld-linux-aarch64.so.1",
    triple: "aarch64-linux-gnu",
  },
};

/** This machine's. */
export const thisArch: Arch = process.arch === "arm64" ? "aarch64" : "x86_64";
