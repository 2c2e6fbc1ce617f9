/** The version this program was built as; `bun run build` defines it, from source it is "dev". */
declare const FLEET_VERSION: string | undefined;

export const VERSION: string = typeof FLEET_VERSION === "string" ? FLEET_VERSION : "dev";
