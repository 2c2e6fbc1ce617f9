/** Parses the command line, which is compatible with the public retina-tracker. Called once by `main.ts`. Pure. (T10) */
import { parseArgs } from "node:util";
import { HISTORY_MAX } from "./tracks/detection-history.ts";

export const USAGE = `usage: fleet-tracker --tcp [--tcp-host HOST] [--tcp-port PORT] [-c FILE] [-s FILE|-]
       fleet-tracker FILE [-c FILE] [-s FILE|-]

Tracks targets in delay-Doppler detection frames and writes one JSON event per line.

  FILE                       read frames from FILE, one JSON object per line
  --tcp                      read frames over TCP, from one client at a time
  --tcp-host HOST            address to listen on (default: tcp.host in the config, or 0.0.0.0)
  --tcp-port PORT            port to listen on, 0 for any free port (default: tcp.port in the config, or 3012)
  -s, --stream-output FILE   file to write events to, - for stdout (default: -)
  -c, --config FILE          YAML file that overrides default parameters; a retina-tracker config works too
  --blah2-config FILE        blah2 config to read the center frequency from (capture.fc)
  --explain                  print to stderr why tracks are born, resumed, merged and dropped
  --detection-window N       detections in each event, 1 to 20 (default: tracker.detection_window in the config, or 20)
  --version                  print the version
  -h, --help                 print this text
`;

/** The source of the frames. */
export type Input =
  | { readonly from: "tcp"; readonly host: string | undefined; readonly port: number | undefined }
  | { readonly from: "file"; readonly path: string };

export type Options =
  | { readonly do: "help" | "version" }
  | { readonly do: "usage_error"; readonly message: string }
  | {
      readonly do: "run";
      readonly input: Input;
      /** A path, or `-`. */
      readonly output: string;
      readonly configPath: string | undefined;
      readonly blah2ConfigPath: string | undefined;
      readonly explain: boolean;
      readonly detectionWindow: number | undefined;
    };

const PORT_MAX = 65_535;

/** Parses the arguments that follow the program's name. */
export function parseOptions(args: readonly string[]): Options {
  const parsed = parse(args);
  if (typeof parsed === "string") return usageError(parsed);
  const { values, positionals } = parsed;
  if (values.help === true) return { do: "help" };
  if (values.version === true) return { do: "version" };
  const [path, ...more] = positionals;
  if (more.length > 0) return usageError("more than one input file");
  if (path === undefined && values.tcp !== true) return usageError("specify a file or --tcp");
  if (path !== undefined && values.tcp === true)
    return usageError("specify either a file or --tcp, not both");

  const port = wholeNumber(values["tcp-port"]);
  if (port !== undefined && !(port >= 0 && port <= PORT_MAX)) {
    return usageError(`--tcp-port must be a number from 0 to ${PORT_MAX}`);
  }
  const detectionWindow = wholeNumber(values["detection-window"]);
  if (detectionWindow !== undefined && !(detectionWindow >= 1 && detectionWindow <= HISTORY_MAX)) {
    return usageError(`--detection-window must be a number from 1 to ${HISTORY_MAX}`);
  }
  return {
    do: "run",
    input:
      path === undefined ? { from: "tcp", host: values["tcp-host"], port } : { from: "file", path },
    output: values["stream-output"] ?? "-",
    configPath: values.config,
    blah2ConfigPath: values["blah2-config"],
    explain: values.explain === true,
    detectionWindow,
  };
}

/** The result of Node's parser, or its error message. */
function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        tcp: { type: "boolean" },
        "tcp-host": { type: "string" },
        "tcp-port": { type: "string" },
        "stream-output": { type: "string", short: "s" },
        config: { type: "string", short: "c" },
        "blah2-config": { type: "string" },
        explain: { type: "boolean" },
        "detection-window": { type: "string" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean" },
      },
    });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The value of a string of digits; NaN for other strings. */
function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return /^\d+$/.test(text) ? Number(text) : Number.NaN;
}

function usageError(message: string): Options {
  return { do: "usage_error", message };
}
