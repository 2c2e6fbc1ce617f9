/**
 * `/api/v1/agent/binary` and `/agent/info`: agents to be downloaded, for whoever has the enrolment token. The token comes in
 * a header, or as the body of a POST for clients that could only put a header where `ps` shows it. (H8, DESIGN §8)
 */
import type { Counts, Log } from "@fleet/daemon";
import type { AgentInfo } from "@fleet/protocol";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import type { Auth } from "../../auth/auth.ts";
import type { ActiveDownloads, Download } from "../../downloads/active-downloads.ts";
import type {
  AgentBinaries,
  NoAgentBinary,
  OpenAgentBinary,
} from "../../downloads/agent-binaries.ts";
import { bearerToken } from "../middleware/body.ts";
import { type ErrorCode, fail } from "../middleware/errors.ts";
import { limit, TOKEN_HEADER } from "../middleware/guard.ts";
import { binaryQuery, parseQuery } from "../middleware/queries.ts";
import { byteRange } from "./range.ts";
import type { AppEnv } from "../server.ts";

const RETRY_S = 5;

const ERROR_OF: Readonly<Record<NoAgentBinary, ErrorCode>> = {
  not_configured: "no_downloads",
  no_directory: "no_downloads",
  no_file: "unknown_arch",
  changing: "agent_changing",
};

/** What the routes work with. */
export interface AgentDownloadDeps {
  readonly auth: Auth;
  readonly log: Log;
  readonly binaries: AgentBinaries;
  readonly downloads: ActiveDownloads;
  /** Answers of `binary`, by status. */
  readonly answers: Counts;
}

type Ctx = Context<AppEnv>;

/** The routes below `/api/v1/agent`. */
export function agentDownloadRoutes(deps: AgentDownloadDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.on(["GET", "POST"], "/binary", counted(deps), allowed(deps), (c) => binary(deps, c));
  routes.on(["GET", "POST"], "/info", allowed(deps), async (c) => {
    const list = await deps.binaries.list();
    if (typeof list === "string") return refuse(c, ERROR_OF[list]);
    const agents = list.map(({ arch, version, bytes, sha256 }) => ({
      arch,
      version,
      bytes,
      sha256,
    }));
    const info: AgentInfo = { agents };
    c.header("Cache-Control", "no-store");
    return c.json(info);
  });
  return routes;
}

function counted({ answers, log }: AgentDownloadDeps): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    await next();
    const { status } = c.res;
    answers.add(String(status));
    const level = status === 401 ? "debug" : "info";
    log[level]({ peer: c.env.peer(), arch: c.req.query("arch") ?? null, status }, "agent download");
  };
}

function allowed({ auth }: AgentDownloadDeps): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const posted = c.req.method === "POST" ? (await c.req.text()).trim() : undefined;
    const token = c.req.header(TOKEN_HEADER) ?? posted;
    if (posted !== undefined) c.set("shownToken", posted);
    const limited = limit(auth, c, posted);
    if (limited !== undefined) return limited;
    const isAgent = auth.tokens.find("enroll", token) !== undefined;
    const isOperator = auth.tokens.find("operator", bearerToken(c)) !== undefined;
    if (isAgent || isOperator) return next();
    return fail(c, "unauthorized", `the enrolment token is required, as ${TOKEN_HEADER}`);
  };
}

async function binary({ binaries, downloads }: AgentDownloadDeps, c: Ctx): Promise<Response> {
  const query = parseQuery(c, binaryQuery);
  if (!query.ok) return fail(c, "bad_request", query.detail);
  const download = downloads.begin(c.env.isOpen);
  if (download === undefined) return refuse(c, "too_many_downloads");
  const opened = await binaries.open(query.data.arch);
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
  // The server opens the file by this name, sends it from disk as the client takes it, and sees to the length. Only once the
  // request has ended is it certain to have opened it, and the number must not be another file's before.
  download.onEnd(() => opened.close());
  const body = Bun.file(`/proc/self/fd/${opened.fd}`).slice(start, past);
  return new Response(body, { status: range.at === "part" ? 206 : 200, headers });
}

/** `If-None-Match` (RFC 9110 §13.1.2): a list of tags, weak or strong, or `*`. */
function isKnown(header: string | undefined, etag: string): boolean {
  const tags = (header ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return tags.includes(etag) || tags.includes("*");
}

/** Errors that time may mend. */
function refuse(c: Ctx, code: ErrorCode): Response {
  if (code !== "unknown_arch") c.header("Retry-After", String(RETRY_S));
  return fail(c, code);
}
