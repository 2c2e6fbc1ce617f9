/** Identifies the build. `bun run build` defines the values; when run from source they are placeholders. */
declare const FLEET_VERSION: string | undefined;
declare const FLEET_COMMIT: string | undefined;
declare const FLEET_LIBC: string | undefined;

/** The version of this program. */
export const VERSION: string = typeof FLEET_VERSION === "string" ? FLEET_VERSION : "0.0.0-source";

/** The commit it was built from, followed by `+` if there were uncommitted changes. */
export const COMMIT: string = typeof FLEET_COMMIT === "string" ? FLEET_COMMIT : "unknown";

/** The C library in a static build, such as "Debian GLIBC 2.36-9+deb12u14"; null when the system's is used. */
export const LIBC: string | null =
  typeof FLEET_LIBC === "string" && FLEET_LIBC !== "" ? FLEET_LIBC : null;
