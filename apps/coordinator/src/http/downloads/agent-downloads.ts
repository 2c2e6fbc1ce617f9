/**
 * The routes that download an agent, for clients with an enrolment token or an operator token. A POST carries the enrolment
 * token in its body, for clients that can set headers only on a command line, where `ps` shows them. (H8)
 */
import type { Counts, Log } from "@fleet/daemon";
import { type AgentArch, type AgentInfo, downloadsApi, type ErrorCode } from "@fleet/protocol";
import type { Context, MiddlewareHandler } from "hono";
import type { ActiveDownloads, Download } from "../../downloads/active-downloads.ts";
import type {
  AgentBinaries,
  NoAgentBinary,
  OpenAgentBinary,
} from "../../downloads/agent-binaries.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";
import type { AppEnv } from "../server.ts";
import { byteRange } from "./range.ts";

const RETRY_S = 5;

const ERROR_OF: Readonly<Record<NoAgentBinary, ErrorCode>> = {
  not_configured: "no_downloads",
  no_directory: "no_downloads",
  no_file: "unknown_arch",
  changing: "agent_changing",
};

/** What the routes need. */
export interface AgentDownloadDeps {
  readonly binaries: AgentBinaries;
  readonly downloads: ActiveDownloads;
}

type Ctx = Context<AppEnv>;

/** The routes. */
export function agentDownloadRoutes(deps: AgentDownloadDeps): readonly Route[] {
  const { binary, binaryByPost, info, infoByPost } = downloadsApi;
  return [
    handle(binary, (c, { query }) => sendBinary(deps, c, query.arch)),
    handle(binaryByPost, (c, { query }) => sendBinary(deps, c, query.arch)),
    handle(info, (c) => listAgents(deps, c)),
    handle(infoByPost, (c) => listAgents(deps, c)),
  ];
}

/** Counts and logs the responses of the binary's routes, refused ones included. */
export function countDownloads(responses: Counts, log: Log): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    await next();
    const { status } = c.res;
    responses.add(String(status));
    const level = status === 401 ? "debug" : "info";
    log[level]({ peer: c.env.peer(), arch: c.req.query("arch") ?? null, status }, "agent download");
  };
}

async function listAgents({ binaries }: AgentDownloadDeps, c: Ctx): Promise<AgentInfo | Response> {
  const list = await binaries.list();
  if (typeof list === "string") return refuse(c, ERROR_OF[list]);
  return {
    agents: list.map(({ arch, version, bytes, sha256 }) => ({ arch, version, bytes, sha256 })),
  };
}

async function sendBinary(
  { binaries, downloads }: AgentDownloadDeps,
  c: Ctx,
  arch: AgentArch,
): Promise<Response> {
  const download = downloads.begin(c.env.isOpen);
  if (download === undefined) return refuse(c, "too_many_downloads");
  const opened = await binaries.open(arch);
  return typeof opened === "string" ? refuse(c, ERROR_OF[opened]) : send(c, download, opened);
}

function send(c: Ctx, download: Download, opened: OpenAgentBinary): Response {
  const { bytes, sha256, version } = opened;
  const etag = `"${sha256}"`;
  const headers = new Headers({
    ETag: etag,
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
    "X-Fleet-Agent-Sha256": sha256,
    ...(version === null ? {} : { "X-Fleet-Agent-Version": version }),
  });
  const end = (status: 304 | 416): Response => {
    opened.close();
    return new Response(null, { status, headers });
  };
  if (isKnown(c.req.header("If-None-Match"), etag)) return end(304);
  const range = byteRange(c.req.header("Range"), c.req.header("If-Range"), bytes, etag);
  if (range.at === "unsatisfiable") {
    headers.set("Content-Range", `bytes */${bytes}`);
    return end(416);
  }
  const [start, past] = range.at === "part" ? [range.start, range.end] : [0, bytes];
  if (range.at === "part") headers.set("Content-Range", `bytes ${start}-${past - 1}/${bytes}`);
  headers.set("Content-Type", "application/octet-stream");
  headers.set("Content-Disposition", `attachment; filename="fleet-agent"`);
  headers.set("Content-Length", String(past - start));
  // The server opens the file by this path and sends it from disk at the client's pace. The descriptor must not be reused
  // before the server has opened it, which is certain only once the request has ended.
  download.onEnd(() => opened.close());
  const body = Bun.file(`/proc/self/fd/${opened.fd}`).slice(start, past);
  return new Response(body, { status: range.at === "part" ? 206 : 200, headers });
}

/** `If-None-Match` (RFC 9110 §13.1.2): a list of tags, weak or strong, or `*`. */
function isKnown(header: string | undefined, etag: string): boolean {
  const tags = (header ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(etag) || tags.includes("*");
}

/** Responds with an error that may pass with time, except that a processor is not supported. */
function refuse(c: Ctx, code: ErrorCode): Response {
  if (code !== "unknown_arch") c.header("Retry-After", String(RETRY_S));
  return fail(c, code);
}
