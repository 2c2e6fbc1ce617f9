/**
 * A client that looks like an agent to the coordinator: it uses the agent's own registration and requests, and opens an event
 * stream on a socket of its own. It reopens a lost stream; success counts as contact, so the next check-in stays regular.
 */
import {
  backoffMs,
  type BackoffOptions,
  createLog,
  systemClock,
  systemRandom,
} from "../../../packages/daemon/src/index.ts";
import { ApiClient, type CallOptions, type Reply } from "../../../packages/api-client/src/index.ts";
import {
  type Contract,
  type InstanceId,
  type NodeId,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type RegisterRequest,
  type RequestOf,
  type ResponseOf,
} from "../../../packages/protocol/src/index.ts";
import { loadIdentity, Registration } from "../../../apps/agent/src/bench.ts";
import { type Member, type MemberOptions, type Outcome } from "./member.ts";
import { wallMs } from "../shared/wall-clock.ts";

const STREAM_BACKOFF: BackoffOptions = { baseMs: 100, capMs: 5000 };
const log = createLog("error", "herd");

/** The agent's client, recording each request. */
class RecordingClient extends ApiClient {
  readonly #member: MemberOptions;

  constructor(member: MemberOptions) {
    super({ url: `http://${member.host}:${member.port}`, clock: systemClock });
    this.#member = member;
  }

  override async attempt<const C extends Contract>(
    contract: C,
    request: RequestOf<C>,
    options?: CallOptions,
  ): Promise<Reply<ResponseOf<C>>> {
    const atMs = wallMs();
    const reply = await super.attempt(contract, request, options);
    const { index, note } = this.#member;
    note({ index, atMs, ms: wallMs() - atMs, outcome: outcomeOf(reply) });
    return reply;
  }
}

function outcomeOf(reply: Reply<unknown>): Outcome {
  if (reply.at === "ok") return "ok";
  if (reply.at !== "refused") return "lost";
  return reply.status >= 500 ? "server_error" : "refused";
}

/** What the agent registers. */
function requestOf(index: number, nodeId: NodeId): RegisterRequest {
  return {
    node_id: nodeId,
    instance_id: `i${index}` as InstanceId,
    group: "herd",
    class: "persistent",
    labels: { site: `site${index % 50}` },
    version: "0.1.0",
    runtimes: [{ name: "python", version: "3.12.4", path: "/usr/bin/python3" }],
    sensors: [],
    capabilities: [],
    platform: { arch: "x86_64", os: "linux" },
  };
}

/** An agent with its registration and event stream. */
export class FleetMember implements Member {
  readonly #options: MemberOptions;
  readonly #nodeId: NodeId;
  readonly #registration: Registration;
  #isStreaming = false;
  #failures = 0;

  constructor(options: MemberOptions, enrollToken: string) {
    this.#options = options;
    const nodeId = `herd-${options.index}` as NodeId;
    this.#nodeId = nodeId;
    const nowhere = { name: nodeId, stateDir: undefined, hostname: nodeId };
    this.#registration = new Registration({
      client: new RecordingClient(options),
      clock: systemClock,
      random: systemRandom,
      log,
      identity: loadIdentity({ ...nowhere, clock: systemClock, log }),
      request: () => requestOf(options.index, nodeId),
      enrollTokens: () => [enrollToken],
      counters: () => ({}),
      onGrant: () => this.#openStream(),
      onSuperseded: () => {
        throw new Error(`${nodeId} was superseded`);
      },
    });
  }

  enter(): void {
    this.#registration.start();
  }

  lost(): void {}

  #openStream(): void {
    const { grant } = this.#registration;
    if (this.#isStreaming || grant === undefined) return;
    this.#isStreaming = true;
    const { index, host, port, note, onUp } = this.#options;
    const atMs = wallMs();
    let outcome: Outcome | undefined;
    let isOver = false;
    const record = (result: Outcome): void => {
      outcome ??= result;
      note({ index, atMs, ms: wallMs() - atMs, outcome });
    };
    const gone = (): void => {
      if (isOver) return;
      isOver = true;
      this.#isStreaming = false;
      if (outcome === undefined) record("lost");
      const delayMs = backoffMs(STREAM_BACKOFF, ++this.#failures, systemRandom);
      systemClock.after(delayMs, () => this.#openStream());
    };
    const head = [
      `GET /api/v1/agents/${this.#nodeId}/events HTTP/1.1`,
      `Host: ${host}`,
      `Authorization: Bearer ${grant.accessToken}`,
      `${PROTOCOL_HEADER}: ${PROTOCOL_VERSION}`,
    ];
    Bun.connect({
      hostname: host,
      port,
      socket: {
        open: (socket) => void socket.write(`${head.join("\r\n")}\r\n\r\n`),
        data: (_socket, chunk) => {
          if (outcome !== undefined) return;
          const status = Number(chunk.toString("latin1", 9, 12));
          record(status === 200 ? "ok" : status >= 500 ? "server_error" : "refused");
          // The next check-in finds out why.
          if (outcome !== "ok") return this.#registration.nudge();
          this.#failures = 0;
          onUp();
        },
        close: gone,
        error: gone,
        connectError: gone,
      },
    }).catch(gone);
  }
}
