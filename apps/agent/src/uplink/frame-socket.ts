/** Opens one TCP or TLS connection to a frame port and reduces its events to four. Used by Uplink. (H5) */
import type { FrameEndpoint } from "@fleet/protocol";
import { certificateProblem } from "../registration/certificate-problem.ts";

/** A connection to a frame port. */
export type FrameSocket = Bun.Socket<undefined>;

/** The events of one connection. */
export interface FrameSocketEvents {
  /** Ready for use; with TLS the certificate has been verified. */
  readonly onOpen: (socket: FrameSocket) => void;
  readonly onData: (chunk: Uint8Array) => void;
  /** The socket accepts bytes again. */
  readonly onDrain: () => void;
  /** The connection failed or ended; may be called more than once, and before `onOpen`. */
  readonly onLost: (reason: string) => void;
}

/** Connects. `ca` as in AgentConfig. `adopt` gets the socket once there is one, and returns whether it is still wanted. */
export function openFrameSocket(
  { host, port, tls }: FrameEndpoint,
  ca: string | undefined,
  adopt: (socket: FrameSocket) => boolean,
  { onOpen, onData, onDrain, onLost }: FrameSocketEvents,
): void {
  Bun.connect<undefined>({
    hostname: host,
    port,
    tls: tls && ca !== undefined ? { ca } : tls,
    socket: {
      open: (socket) => {
        if (!adopt(socket)) return void socket.terminate();
        if (!tls) onOpen(socket);
      },
      // With TLS only. Bun has verified the certificate for `host` by then.
      handshake: (socket, isSecure, error) => {
        if (isSecure) onOpen(socket);
        else onLost(handshakeProblem(error));
      },
      data: (_socket, chunk) => onData(chunk),
      drain: onDrain,
      close: () => onLost("connection closed"),
      error: (_socket, error) => onLost(error.message),
      connectError: (_socket, error) => onLost(error.message),
    },
  }).catch((error: unknown) => onLost(String(error)));
}

function handshakeProblem(error: Error | null): string {
  const { code = "", message = "TLS failed" } = (error ?? {}) as {
    code?: string;
    message?: string;
  };
  const problem = certificateProblem(code);
  if (problem !== undefined)
    return `the frame port's certificate ${problem.found}. ${problem.remedy}`;
  return code === "EPROTO" ? "the frame port does not speak TLS" : message;
}
