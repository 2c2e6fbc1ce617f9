import { resolve } from "node:path";

/** The root directory of the repository. */
export const root = resolve(import.meta.dir, "../..");
