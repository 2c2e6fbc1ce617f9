/** The command line, that of the public retina-tracker: parsed by `main.ts`, once. Pure. (T10) */
import { parseArgs } from "node:util";
import { HISTORY_MAX } from "./tracks/detection-history.ts";

export const USAGE = `usage: fleet-tracker --tcp [--tcp-host HOST] [--tcp-port PORT] [-c FILE] [-s FILE|-]
       fleet-tracker FILE [-c FILE] [-s FILE|-]

Tracks targets in delay-Doppler detection frames and writes one JSON event a line.

  FILE                       read frames from FILE, one JSON object a line
  --tcp                      read frames from one TCP client at a time
  --tcp-host HOST            address to listen on (default: tcp.host of the config, 0.0.0.0)
  --tcp-port PORT            port to listen on, 0 for any (default: tcp.port of the config, 3012)
  -s, --stream-output FILE   where events go; - is stdout (default)
  -c, --config FILE          YAML, merged over the defaults; that of retina-tracker will do
  --blah2-config FILE        take the center frequency from capture.fc of this blah2 config
  --explain                  say on stderr why tracks are born, resumed, merged and dropped
  --detection-window N       detections per event, 1 to 20 (default: 20)
  --version, --help
`;

/** Where frames come from. */
export type Input =
  | { readonly from: "tcp"; readonly host: string | undefined; readonly port: number | undefined }
  | { readonly from: "file"; readonly path: string };

export type Options =
  | { readonly do: "help" | "version" }
  | { readonly do: "refuse"; readonly message: string }
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
  if (typeof parsed === "string") return refuse(parsed);
  const { values, positionals } = parsed;
  if (values.help === true) return { do: "help" };
  if (values.version === true) return { do: "version" };
  const [path, ...more] = positionals;
  if (more.length > 0) return refuse("more than one input file");
  if (path === undefined && values.tcp !== true) return refuse("give a file, or --tcp");
  if (path !== undefined && values.tcp === true) return refuse("give a file or --tcp, not both");

  const port = wholeNumber(values["tcp-port"]);
  if (port !== undefined && !(port >= 0 && port <= PORT_MAX)) {
    return refuse(`--tcp-port must be a number from 0 to ${PORT_MAX}`);
  }
  const detectionWindow = wholeNumber(values["detection-window"]);
  if (detectionWindow !== undefined && !(detectionWindow >= 1 && detectionWindow <= HISTORY_MAX)) {
    return refuse(`--detection-window must be a number from 1 to ${HISTORY_MAX}`);
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

/** Node's parser, or its complaint. */
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

/** The number a string of digits stands for; NaN for other strings. */
function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return /^\d+$/.test(text) ? Number(text) : Number.NaN;
}

function refuse(message: string): Options {
  return { do: "refuse", message };
}
