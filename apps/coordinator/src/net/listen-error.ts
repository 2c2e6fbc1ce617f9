/** The error of a port that can't be opened. Its message names the address, the reason and the flag that changes it. */

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use",
  EACCES: "this user may not open the port",
};

/** Thrown by the HTTP server and the frame port when they start. */
export class ListenError extends Error {
  readonly code = "listen";

  constructor(purpose: "HTTP" | "frames", host: string, port: number, cause: unknown) {
    const flag = purpose === "HTTP" ? "--http" : "--frames";
    super(
      `can't listen for ${purpose} on ${host}:${port}: ${reasonOf(cause)} (choose another with ${flag} HOST:PORT)`,
      { cause },
    );
  }
}

/** For a host that it can't use the runtime reports an arbitrary system error, or none; other errors explain themselves. */
function reasonOf(cause: unknown): string {
  const { code, syscall, message } = cause as NodeJS.ErrnoException;
  const isOfListen = syscall === "listen" || message.startsWith("Failed to listen");
  if (!isOfListen) return message;
  return REASONS[code ?? ""] ?? "the host is not an address of this machine";
}
