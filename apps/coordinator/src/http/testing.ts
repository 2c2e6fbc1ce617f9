/** A test rig: the whole HTTP API on a real socket, with a fake clock. */
import { connect } from "node:net";
import { FakeClock } from "@fleet/daemon/testing";
import {
  type CreateTokenRequest,
  createTokenRequestSchema,
  PROTOCOL_HEADER,
  type RegisterRequest,
  type RegisterResponse,
} from "@fleet/protocol";
import { Counts, seededRandom } from "@fleet/daemon";
import { FakeSpawn } from "@fleet/supervisor/testing";
import { AddressPolicy } from "../net/address-policy.ts";
import { Auth } from "../auth/auth.ts";
import { Bus } from "../bus.ts";
import { parseConfig } from "../config/config.ts";
import { Committer } from "../db/commit.ts";
import { type Db, MEMORY, openDb } from "../db/open.ts";
import type { ActiveDownloads } from "../downloads/active-downloads.ts";
import { createRegistry, type Registry } from "../registry/registry.ts";
import {
  freePorts,
  configuredTokens,
  RecordingLog,
  REGISTRY_OPTIONS,
  streamId,
  until,
} from "../testing.ts";
import type { TlsFiles } from "../net/tls-files.ts";
import { createTrackers, type Trackers } from "../trackers/create-trackers.ts";
import type { TrackerManager } from "../trackers/manager.ts";
import type { RegisterLimiter } from "./agents/register-limiter.ts";
import { AgentStreams } from "../agent-streams/agent-streams.ts";
import { createHttp, type Http } from "./create-http.ts";
import type { Frames } from "./agents/frame-endpoint.ts";
import { openApiDocument } from "./openapi/document.ts";
import type { HttpServer } from "./server.ts";

export const ENROLL = "enroll-token";
export const OPERATOR = "operator-token";
export const PUSH = "push-token";

/** A response; `body` is parsed if it is JSON, else text. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

interface ApiOptions {
  /** The directory of agents to download. Default: none. */
  readonly dir?: string;
  /** The most concurrent downloads. */
  readonly max?: number;
  readonly reenroll?: boolean;
  readonly metrics?: "open" | "viewer";
  readonly tls?: TlsFiles;
  /** The number of ports for trackers. */
  readonly ports?: number;
}

/** Listens once constructed. `await using api = new Api()` stops it. */
export class Api implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly log = new RecordingLog();
  readonly bus = new Bus();
  readonly db: Db = openDb(MEMORY).db;
  readonly counts = new Counts();
  readonly commits = new Committer(this.db, this.log, this.bus);
  readonly auth = new Auth({
    db: this.db,
    commits: this.commits,
    dataDir: MEMORY,
    tokens: configuredTokens({ enroll: ENROLL, push: PUSH, operator: OPERATOR }),
    clock: this.clock,
    log: this.log,
  });
  readonly registry: Registry;
  readonly manager: TrackerManager;
  readonly app: Http["app"];
  readonly server: HttpServer;
  readonly downloads: ActiveDownloads;
  readonly streams = new AgentStreams(this.clock);
  readonly registerLimiter: RegisterLimiter;
  advertised: ReturnType<Frames> = {
    host: undefined,
    port: 30_050,
    tls: false,
  };
  ready = true;
  readonly #scheme: string;

  constructor(options: ApiOptions = {}) {
    this.#scheme = options.tls === undefined ? "http" : "https";
    const { clock, log, bus, db, auth, streams } = this;
    const config = parseConfig("test", {
      http: { host: "127.0.0.1", port: 0 },
      registry: { heartbeat_interval: "30s" },
    });
    this.registry = createRegistry({ db, commits: this.commits, clock, log }, REGISTRY_OPTIONS);
    this.registry.start();
    const trackers = makeTrackers(this, options.ports ?? 1);
    this.manager = trackers.manager;
    const http = createHttp({
      config: {
        agent_binaries: options.dir,
        http: { ...config.http, tls: options.tls, metrics: options.metrics ?? "open" },
        registry: { ...config.registry, reenroll: options.reenroll === false ? "prove" : "allow" },
      },
      version: "1.2.3",
      clock,
      log,
      random: seededRandom(5),
      bus,
      auth,
      registry: this.registry,
      trackers,
      uplinks: {
        refused: this.counts,
        fetchers: { outcomes: () => [[streamId("hill"), this.counts]] },
        server: { connections: 3 },
        endpoint: () => this.advertised,
      },
      streams,
      addresses: new AddressPolicy(),
      resolver: { outcomes: this.counts },
      isWritable: () => this.ready && !this.registry.isFailing,
      downloadsMax: options.max ?? 100,
    });
    this.app = http.app;
    this.server = http.server;
    this.downloads = http.downloads;
    this.registerLimiter = http.registerLimiter;
    auth.start();
    this.server.start();
    this.streams.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.streams.stop();
    await this.server.stop();
    await this.downloads.stop();
    await this.manager.stop(this.clock.monotonicMs() + 1e6);
    await this.registry.stop();
    await this.auth.stop();
  }

  /** Creates a token and returns its secret. */
  async token(request: CreateTokenRequest): Promise<string> {
    const outcome = await this.auth.tokens.create(createTokenRequestSchema.parse(request), "test");
    if (outcome.at !== "created") throw new Error(`no token: ${outcome.at}`);
    return outcome.secret;
  }

  url(path: string): string {
    return `${this.#scheme}://127.0.0.1:${this.server.port}${path}`;
  }

  /** Sends a request. Throws when the OpenAPI document does not describe the response. (H4) */
  async call(
    method: string,
    path: string,
    options: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const { token, body } = options;
    const response = await fetch(this.url(path), {
      method,
      headers: {
        [PROTOCOL_HEADER]: "1",
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        ...options.headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const problem = undocumented(method, path, response, parsed(text));
    if (problem !== undefined) throw new Error(problem);
    return { status: response.status, headers: response.headers, body: parsed(text) };
  }

  /** Registers an agent and returns its credentials. */
  async register(id: string, more: Partial<RegisterRequest> = {}): Promise<RegisterResponse> {
    const body = { node_id: id, instance_id: "i1", version: "1.0.0", ...more };
    const { status, body: answer } = await this.call("POST", "/api/v1/agents/register", {
      token: ENROLL,
      body,
    });
    if (status !== 200) throw new Error(`register answered ${status} ${JSON.stringify(answer)}`);
    return answer as RegisterResponse;
  }
}

/** Posts a body slowly: runs `meanwhile` once `token` has been looked up, then sends the rest. Returns the status. */
export async function slowPost(
  { server, auth }: Api,
  path: string,
  token: string,
  body: unknown,
  meanwhile: () => Promise<unknown> | void,
): Promise<number> {
  const text = JSON.stringify(body);
  const socket = connect(server.port, "127.0.0.1").setEncoding("utf8");
  let answer = "";
  socket.on("data", (part) => (answer += String(part)));
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n${PROTOCOL_HEADER}: 1\r\n` +
      `Content-Length: ${text.length}\r\n\r\n${text[0]}`,
  );
  await until(() => auth.tokens.list().at(-1)!.last_used_at !== null);
  await meanwhile();
  socket.write(text.slice(1));
  await until(() => answer.includes("\r\n\r\n"));
  socket.destroy();
  return Number(answer.split(" ")[1]);
}

function makeTrackers({ clock, log, bus, db }: Api, ports: number): Trackers {
  const first = freePorts(ports);
  const spawn = new FakeSpawn();
  spawn.onSpawn = (process) => {
    process.onSignal = () => process.exit(0);
  };
  return createTrackers({
    config: parseConfig("test", {
      tracker: { start_timeout: "1000000s", stall_timeout: "1000000s" },
      tcp_server: { auto_provision_port_start: first, auto_provision_port_end: first + ports - 1 },
    }),
    clock,
    log,
    bus,
    db,
    random: seededRandom(1),
    trackDir: "/nowhere",
    trackerCommand: ["tracker"],
    trackerEnv: {},
    spawn: spawn.spawn,
  });
}

const document = openApiDocument("1.2.3");

/** What the document lacks of a response: its status, or the code of its error. Unknown paths and methods pass. */
function undocumented(
  method: string,
  path: string,
  { status }: Response,
  body: unknown,
): string | undefined {
  const parts = path.split("?")[0]!.split("/");
  const matches = (template: string): boolean => {
    const all = template.split("/");
    const matchesPart = (part: string, at: number): boolean =>
      part === parts[at] || (part.startsWith("{") && parts[at] !== "");
    return all.length === parts.length && all.every(matchesPart);
  };
  const paths = Object.keys(document.paths).filter(matches);
  // As in the router, a path without parameters takes precedence.
  const template = paths.find((p) => !p.includes("{")) ?? paths[0];
  const operation = template && document.paths[template]![method.toLowerCase()];
  if (operation === undefined || operation === "") return undefined;
  const { code } = (body as { error?: { code?: string } } | null)?.error ?? {};
  const described = operation.responses[String(status)];
  const examples = described?.content?.["application/json"]?.examples;
  if (described !== undefined && (code === undefined || (examples && code in examples)))
    return undefined;
  return `the document does not describe ${status} ${code ?? ""} from ${method} ${template}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
