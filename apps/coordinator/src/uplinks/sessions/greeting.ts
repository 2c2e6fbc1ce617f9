/** Decides on a `hello`: authenticates the agent, checks that it may speak for its node, and attaches the stream's tracker. (R9) */
import {
  type Hello,
  helloSchema,
  PROTOCOL_VERSION,
  type RejectCode,
  streamIdOf,
} from "@fleet/protocol";
import type { Auth } from "../../auth/auth.ts";
import type { Registry } from "../../registry/registry.ts";
import type { TrackerManager } from "../../trackers/manager.ts";
import type { Tracker } from "../../trackers/tracker.ts";
import type { ProgressStore, StreamProgress } from "./stream-progress.ts";

/** What a decision depends on. */
export interface GreetingDeps {
  readonly auth: Auth;
  readonly registry: Registry;
  readonly manager: TrackerManager;
  readonly store: ProgressStore;
}

/** `welcome`: admitted, with a tracker attached that the session must detach. `reject`: refused. */
export type GreetingOutcome =
  | {
      readonly at: "welcome";
      readonly hello: Hello;
      readonly tracker: Tracker;
      readonly progress: StreamProgress;
      readonly firstSeq: number;
    }
  | { readonly at: "reject"; readonly code: RejectCode; readonly message: string };

/** The codes after which the agent may be welcome later, after it has registered again. */
export const RETRYABLE: ReadonlySet<RejectCode> = new Set([
  "unauthorized",
  "unknown_node",
  "unknown_sensor",
  "ports_exhausted",
  "draining",
]);

/** Decides on a parsed hello line. Only the verification of the token is asynchronous; the rest reads memory. */
export async function greet(
  deps: GreetingDeps,
  line: unknown,
  address: string,
): Promise<GreetingOutcome> {
  const parsed = helloSchema.safeParse(line);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return reject("bad_hello", `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "unreadable"}`);
  }
  const hello = parsed.data;
  if (hello.protocol !== PROTOCOL_VERSION)
    return reject("unsupported_protocol", `this coordinator speaks protocol ${PROTOCOL_VERSION}`);
  const claims = await deps.auth.credentials.verifyAccess(hello.token);
  const matches =
    claims?.nodeId === hello.node_id &&
    claims.instanceId === hello.instance_id &&
    claims.epoch === hello.epoch;
  if (!matches) {
    const { credentials } = deps.auth;
    if (claims === undefined && !credentials.isIssuedHere(hello.token))
      deps.auth.addFailure(address, "frames");
    return reject("unauthorized", "the access token is not valid for this node");
  }
  const refusal = refusalOf(deps.registry, hello);
  if (refusal !== undefined) return refusal;
  const node = deps.registry.get(hello.node_id)!;
  if (!node.row.sensors.some((s) => s.name === hello.sensor))
    return reject("unknown_sensor", "the node has not registered this sensor");
  const streamId = streamIdOf(hello.node_id, hello.sensor);
  const tracker = deps.manager.attach(streamId);
  if (tracker === "unknown_node")
    return reject("unknown_node", "no tracker is configured for this node");
  if (tracker === "draining") return reject("draining", "this coordinator is stopping");
  if (tracker === "ports_exhausted")
    return reject("ports_exhausted", "no port is left for this stream's tracker");
  const progress = deps.store.open(streamId, hello.spool_id, hello.first_seq);
  const firstSeq = Math.max(hello.first_seq, progress.accepted + 1);
  return { at: "welcome", hello, tracker, progress, firstSeq };
}

/** Why the sender of a hello may not speak for its node at present; undefined when it may. Reads memory only. (R4, R9) */
export function refusalOf(
  registry: Registry,
  { node_id: id, instance_id: instance, epoch }: Hello,
): Extract<GreetingOutcome, { at: "reject" }> | undefined {
  switch (registry.standing(id, instance, epoch)) {
    case "current":
      return undefined;
    case "superseded":
      return reject("superseded", "a newer instance has taken this node over");
    case "blocked":
      return reject("blocked", "this node is blocked here");
    case "unknown":
      return reject("unknown_node", "register before sending frames");
  }
}

/** Lines to agents are ASCII, but the message of a schema may hold other characters. */
function reject(code: RejectCode, message: string) {
  return { at: "reject", code, message: message.replace(/[^ -~]/g, "-") } as const;
}
