/** A port that can't be had, named together with the flag that changes it. */
export class ListenError extends Error {
  readonly code = "listen";
  constructor(what: "HTTP" | "frames", host: string, port: number, cause: unknown) {
    const flag = what === "HTTP" ? "--http" : "--frames";
    const taken = (cause as { code?: unknown } | null)?.code === "EADDRINUSE";
    const why = taken ? "the port is taken" : cause instanceof Error ? cause.message : "refused";
    super(`can't listen for ${what} on ${host}:${port}: ${why} (${flag} HOST:PORT changes it)`, {
      cause,
    });
  }
}
