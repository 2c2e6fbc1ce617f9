/** A detection report as a person reads it: what works, what does not and why, and what the image is. Pure. (A7) */
import type {
  ImageFacts,
  ImageReport,
  InterpreterReport,
  Rejection,
  VirtualEnvironment,
} from "./image-report.ts";
import { printable } from "./printable.ts";

const CELL_CHARS_MAX = 120;

/** Plain text, LF-terminated lines, no colours; file names and program output are stripped of control characters. */
export function formatReport(report: ImageReport): string {
  const rows = [
    ["RUNTIME", "VERDICT", "VERSION", "KIND", "LIBC", "PATH"],
    ...report.interpreters.flatMap(interpreterRows),
  ];
  const lines =
    report.interpreters.length === 0 ? ["No interpreter was found in this image."] : table(rows);
  if (report.absent.length > 0) lines.push(`not here: ${report.absent.join(", ")}`);
  lines.push("", ...table(imageRows(report)));
  if (report.environments.length > 0)
    lines.push(
      "",
      ...table([
        ["ENVIRONMENT", "VERDICT", "INTERPRETER"],
        ...report.environments.map(environmentRow),
      ]),
    );
  lines.push("", `Looked at in ${report.took_ms} ms.`);
  return `${lines.join("\n")}\n`;
}

function interpreterRows(interpreter: InterpreterReport): string[][] {
  if (interpreter.verdict === "broken") {
    return interpreter.rejected.map((rejection, index) => [
      index === 0 ? interpreter.name : "",
      index === 0 ? "broken" : "",
      ...rejectionCells(rejection),
    ]);
  }
  const { name, version, implementation, libc, path, real_path } = interpreter;
  return [
    [name, "ok", version ?? "-", implementation ?? "-", libc ?? "-", withTarget(path, real_path)],
    ...interpreter.rejected.map((rejection) => ["", "passed", ...rejectionCells(rejection)]),
  ];
}

/** The reason stands in the last column, where it may be long. */
function rejectionCells({ path, reason }: Rejection): string[] {
  return ["-", "-", "-", `${path} ${reason}`];
}

function environmentRow({
  name,
  verdict,
  interpreter,
  real_path,
  reason,
}: VirtualEnvironment): string[] {
  return [
    name,
    verdict,
    interpreter === null ? (reason ?? "-") : withTarget(interpreter, real_path ?? interpreter),
  ];
}

function imageRows({ image, package_managers }: ImageReport): string[][] {
  const libc =
    image.libc.family === "none"
      ? "no C library"
      : [image.libc.family, image.libc.version].filter((part) => part !== null).join(" ");
  const managers = package_managers.map(({ name, path }) => `${name} (${path})`).join(", ");
  return [
    ["image", image.os === null ? "unnamed (no os-release)" : image.os.pretty_name],
    ["system", `${libc}, ${image.arch}, kernel ${image.kernel}`],
    ["limits", limits(image.cgroup)],
    ["user", `uid ${image.uid}, gid ${image.gid}`],
    ["search path", image.path],
    ["packages", managers === "" ? "no package manager" : managers],
  ];
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

function withTarget(path: string, realPath: string): string {
  return path === realPath ? path : `${path} -> ${realPath}`;
}

/** Columns two blanks apart; the last one is as long as it is. */
function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) =>
    row.map((cell, column) => printable(cell, column === row.length - 1 ? 1000 : CELL_CHARS_MAX)),
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
