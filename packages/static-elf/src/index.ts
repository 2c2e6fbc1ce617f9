export { Elf, type Machine } from "./elf.ts";
export { StaticElfError, type StaticElfCode } from "./errors.ts";
export { glibcVersion } from "./libc-version.ts";
export { type Linked, type LinkOptions, linkStatic, type Part } from "./link.ts";
export { compileStub, type Stub } from "./stub.ts";
