/** @fleet/static-elf: turns the output of `bun build --compile` into an executable without an interpreter. Used by the build. */
export { Elf, type Machine } from "./elf.ts";
export { StaticElfError } from "./errors.ts";
export { glibcVersion } from "./libc-version.ts";
export { linkStatic, type LinkOptions, type Part } from "./link.ts";
export { compileStub } from "./stub.ts";
