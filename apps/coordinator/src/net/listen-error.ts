/** Thrown when a port can't be opened. Its message names the address, the reason and the flag that changes it. */
export class ListenError extends Error {
  readonly code = "listen";
  constructor(purpose: "HTTP" | "frames", host: string, port: number, cause: unknown) {
    const flag = purpose === "HTTP" ? "--http" : "--frames";
    const isTaken = (cause as { code?: unknown } | null)?.code === "EADDRINUSE";
    const reason = isTaken
      ? "the port is in use"
      : cause instanceof Error
        ? cause.message
        : "refused";
    super(
      `can't listen for ${purpose} on ${host}:${port}: ${reason} (choose another with ${flag} HOST:PORT)`,
      { cause },
    );
  }
}
