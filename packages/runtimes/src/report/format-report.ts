/** A detection report as a person reads it: what works, what does not and why, and what the image is. Pure. (A7) */
import type {
  ImageFacts,
  ImageReport,
  Installation,
  InterpreterReport,
  Rejection,
  VirtualEnvironment,
} from "../image-report.ts";
import { printable } from "../inspect/printable.ts";

const CELL_CHARS_MAX = 40;

const LAST_CELL_CHARS_MAX = 400;

/** Of a list, such as the search path, in one row. */
const LIST_CHARS_MAX = 90;

/** Plain text, LF-terminated lines, no colours; file names and program output are stripped of control characters. */
export function formatReport(report: ImageReport): string {
  const rows = [
    ["RUNTIME", "VERDICT", "VERSION", "KIND", "LIBC", "PATH"],
    ...report.interpreters.flatMap(interpreterRows),
  ];
  const lines =
    report.interpreters.length === 0 ? ["No interpreter was found in this image."] : table(rows);
  if (report.absent.length > 0) lines.push(`not here: ${report.absent.join(", ")}`);
  if (report.environments.length > 0)
    lines.push(
      "",
      ...table([
        ["ENVIRONMENT", "VERDICT", "VERSION", "INTERPRETER"],
        ...report.environments.flatMap(environmentRows),
      ]),
    );
  const looked = report.cached
    ? `Looked at ${new Date(report.looked_at_ms).toISOString()}; nothing has changed since (${report.took_ms} ms).`
    : `Looked at in ${report.took_ms} ms.`;
  lines.push("", ...table(imageRows(report)), "", looked);
  return `${lines.join("\n")}\n`;
}

function interpreterRows(interpreter: InterpreterReport): string[][] {
  const { name, verdict, rejected } = interpreter;
  if (verdict === "broken")
    return rejected.map((rejection, index) =>
      index === 0
        ? [name, "broken", ...rejectionCells(rejection)]
        : ["", "", ...rejectionCells(rejection)],
    );
  return [
    ...installationRows(name, "ok", interpreter),
    ...interpreter.also.flatMap((other) => installationRows("", "also", other)),
    ...rejected.map((rejection) => ["", "passed", ...rejectionCells(rejection)]),
  ];
}

function installationRows(
  name: string,
  verdict: string,
  { version, implementation, kind, libc, vendor, path, real_path, via, note }: Installation,
): string[][] {
  const kinds = [implementation, kind].filter((part) => part !== null).join(" ");
  const place = withTarget(path, real_path) + (vendor === null ? "" : ` (${vendor})`);
  const remarks = [via === null ? null : `through ${via}`, note];
  return [
    [name, verdict, version ?? "-", kinds || "-", libc ?? "-", place],
    ...remarks
      .filter((remark) => remark !== null)
      .map((remark) => ["", "", "", "", "", `  ${remark}`]),
  ];
}

/** The reason stands in the last column, where it may be long. */
function rejectionCells({ path, reason }: Rejection): string[] {
  return ["", "", "", `${path} ${reason}`];
}

function environmentRows(environment: VirtualEnvironment): string[][] {
  const { name, verdict, version, interpreter, real_path, reason, note } = environment;
  const last =
    interpreter === null ? (reason ?? "-") : withTarget(interpreter, real_path ?? interpreter);
  const row = [name, verdict, version ?? "-", last];
  return note === null ? [row] : [row, ["", "", "", `  ${note}`]];
}

function imageRows({ image, package_managers }: ImageReport): string[][] {
  const libc =
    image.libc.family === "none"
      ? "no C library"
      : [image.libc.family, image.libc.version].filter((part) => part !== null).join(" ");
  const managers = package_managers.map(({ name, version }) => [name, version ?? ""].join(" "));
  return [
    ["image", image.os === null ? "unnamed (no os-release)" : image.os.pretty_name],
    ["system", `${libc}, ${image.arch}, kernel ${image.kernel}`],
    ["limits", limits(image.cgroup)],
    ["user", `uid ${image.uid}, gid ${image.gid}`],
    ...listRows("packages", managers.length === 0 ? ["no package manager"] : managers, ", "),
    ...listRows("search path", image.path.split(":"), ":"),
  ];
}

/** A list over as many rows as it takes. */
function listRows(title: string, items: readonly string[], separator: string): string[][] {
  const lines: string[] = [];
  for (const item of items) {
    const line = lines.at(-1);
    const text = printable(item, LIST_CHARS_MAX);
    if (line !== undefined && line.length + text.length < LIST_CHARS_MAX)
      lines[lines.length - 1] = line + separator + text;
    else lines.push(text);
  }
  const last = lines.length - 1;
  return lines.map((line, index) => [
    index === 0 ? title : "",
    index === last ? line : line + separator.trimEnd(),
  ]);
}

function limits({ version, memory_max_bytes, cpu_max_cores }: ImageFacts["cgroup"]): string {
  if (version === null) return "unknown (no cgroup)";
  const memory =
    memory_max_bytes === null
      ? "memory unlimited"
      : `memory ${Math.round((memory_max_bytes / 1024 / 1024) * 10) / 10} MiB`;
  const cpu = cpu_max_cores === null ? "cpu unlimited" : `cpu ${cpu_max_cores} cores`;
  return `${memory}, ${cpu} (cgroup v${version})`;
}

/** The target's name alone when it lies beside the link. */
function withTarget(path: string, realPath: string): string {
  if (path === realPath) return path;
  const dir = path.slice(0, path.lastIndexOf("/") + 1);
  const target = realPath.startsWith(dir) ? realPath.slice(dir.length) : realPath;
  return `${path} -> ${target}`;
}

/** Columns two blanks apart; the last one is as long as it is. */
function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) =>
    row.map((cell, column) => {
      const isLast = column === row.length - 1;
      const indent = isLast && cell.startsWith("  ") ? "  " : "";
      return indent + printable(cell, isLast ? LAST_CELL_CHARS_MAX : CELL_CHARS_MAX);
    }),
  );
  const widths: number[] = [];
  for (const row of cells)
    for (const [column, cell] of row.entries())
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
  return cells.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
