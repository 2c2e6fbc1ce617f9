/** Formats a detection report for people: which runtimes work, which do not and why, and facts about the image. Pure. (A7) */
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

/** Characters of a list, such as the search path, in one row. */
const LIST_CHARS_MAX = 90;

/** Plain text in LF-terminated lines without colours. Control characters in file names and program output are removed. */
export function formatReport(report: ImageReport): string {
  const rows = [
    ["RUNTIME", "VERDICT", "VERSION", "KIND", "LIBC", "PATH"],
    ...report.interpreters.flatMap(interpreterRows),
  ];
  const lines =
    report.interpreters.length === 0 ? ["No interpreter was found in this image."] : table(rows);
  if (report.absent.length > 0) lines.push(`not found: ${report.absent.join(", ")}`);
  if (report.environments.length > 0)
    lines.push(
      "",
      ...table([
        ["ENVIRONMENT", "VERDICT", "VERSION", "INTERPRETER"],
        ...report.environments.flatMap(environmentRows),
      ]),
    );
  const timing = report.cached
    ? `Detected ${new Date(report.looked_at_ms).toISOString()}; nothing has changed since (checked in ${report.took_ms} ms).`
    : `Detected in ${report.took_ms} ms.`;
  lines.push("", ...table(imageRows(report)), "", timing);
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
    ...rejected.map((rejection) => ["", "rejected", ...rejectionCells(rejection)]),
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

/** The reason goes into the last column, which has room for long text. */
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

/** A list wrapped over several rows. */
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

/** `link -> target`, with the target's name alone when both are in the same directory. */
function withTarget(path: string, realPath: string): string {
  if (path === realPath) return path;
  const dir = path.slice(0, path.lastIndexOf("/") + 1);
  const target = realPath.startsWith(dir) ? realPath.slice(dir.length) : realPath;
  return `${path} -> ${target}`;
}

/** Columns separated by two blanks; the last one is not padded. */
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
