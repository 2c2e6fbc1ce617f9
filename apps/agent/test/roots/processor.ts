/** The processors that the agent is built for, with the names that each tool uses. */

export type Arch = "x86_64" | "aarch64";

/** The properties of a processor. */
export interface Processor {
  readonly arch: Arch;
  /** Bun's name. */
  readonly bunArch: string;
  /** Debian's name. */
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

/** This machine's processor. */
export const thisArch: Arch = process.arch === "arm64" ? "aarch64" : "x86_64";
