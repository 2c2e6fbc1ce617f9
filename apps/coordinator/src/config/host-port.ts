/** The `HOST:PORT` syntax of the flags `--http` and `--frames`. */

/** An address to listen on. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const PORT_MAX = 65_535;

/** Parses `HOST:PORT` or `[IPV6]:PORT`; undefined if it is neither. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host === undefined || port > PORT_MAX ? undefined : { host, port };
}
