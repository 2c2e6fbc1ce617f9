/** The sections of `bun run bench frames`, in the order they run. */
export const FRAMES_SECTIONS = ["sessions", "agent", "drain", "latency"] as const;
