/** Nodes as operators see them: one, or a page of those that are asked for. (R8) */
import type { NodeId, NodeList, NodeView } from "@fleet/protocol";
import type { Node } from "../../registry/node.ts";
import type { Registry } from "../../registry/registry.ts";
import { cursorAfter, type NodeListQuery } from "../middleware/queries.ts";

/** Nodes looked at at once. */
const CHUNK = 256;

type Wanted = (node: Node) => boolean;

/**
 * A page by id, with `next_cursor` while there are more. Nodes that come and go between two pages move nothing: each page
 * begins behind the last id of the one before. A string says what is wrong with the query.
 */
export async function listNodes(
  registry: Registry,
  query: NodeListQuery,
): Promise<NodeList | string> {
  const ofRuntime = await runtimeFilter(query.runtime);
  if (typeof ofRuntime === "string") return ofRuntime;
  const wanted = [...filters(registry, query), ...ofRuntime];
  const isWanted: Wanted = (node) => wanted.every((holds) => holds(node));
  const agents: NodeView[] = [];
  for (const node of nodesAfter(registry, query.cursor)) {
    if (!isWanted(node)) continue;
    if (agents.length === query.limit)
      return { agents, next_cursor: cursorAfter(agents.at(-1)!.node_id) };
    agents.push(nodeView(registry, node));
  }
  return { agents };
}

/** One node. */
export function nodeView(registry: Registry, node: Node): NodeView {
  const { row } = node;
  return {
    node_id: node.id,
    kind: row.kind,
    state: registry.stateOf(node),
    name: row.name,
    group: row.group,
    class: row.class,
    labels: row.labels,
    version: row.version,
    agent_url: row.agentUrl,
    platform: row.platform,
    runtimes: row.runtimes,
    sensors: row.sensors,
    capabilities: row.capabilities,
    instance_id: row.instanceId,
    epoch: row.epoch,
    first_seen: row.firstSeen,
    last_seen: row.lastSeen,
    counters: node.counters,
  };
}

/** Fetched a few at a time: most pages end long before the nodes do. */
function* nodesAfter(registry: Registry, id: NodeId | undefined): Generator<Node> {
  for (let some = registry.list(id, CHUNK); some.length > 0;) {
    yield* some;
    some = registry.list(some.at(-1)!.id, CHUNK);
  }
}

/** What costs least is asked first. */
function filters(registry: Registry, query: NodeListQuery): Wanted[] {
  const { status, label, kind, class: nodeClass, group, q } = query;
  const all: Wanted[] = [];
  if (kind !== undefined) all.push(({ row }) => row.kind === kind);
  if (nodeClass !== undefined) all.push(({ row }) => row.class === nodeClass);
  if (group !== undefined) all.push(({ row }) => row.group === group);
  if (status.length > 0) all.push((node) => status.includes(registry.stateOf(node)));
  for (const text of label) {
    const at = text.indexOf("=");
    const [name, value] = [text.slice(0, at), text.slice(at + 1)];
    all.push(({ row }) => Object.hasOwn(row.labels, name) && row.labels[name] === value);
  }
  if (q !== undefined) {
    const part = q.toLowerCase();
    all.push(({ id, row }) => [id, row.name ?? ""].some((t) => t.toLowerCase().includes(part)));
  }
  return all;
}

/** `name` or `name@range`; a string says what is wrong with it. */
async function runtimeFilter(text: string | undefined): Promise<readonly Wanted[] | string> {
  if (text === undefined) return [];
  const at = text.indexOf("@");
  if (at < 0) return [({ row }) => row.runtimes.some((r) => r.name === text)];
  const [name, range] = [text.slice(0, at), text.slice(at + 1)];
  // Ranges take long to load, and are seldom asked for.
  const { satisfies, VersionRangeError } = await import("@fleet/runtimes/version-range");
  try {
    satisfies(null, range);
  } catch (error) {
    if (error instanceof VersionRangeError) return `runtime: ${error.message}`;
    throw error;
  }
  // A fleet has few versions, and a range takes a while to be read.
  const known = new Map<string | null, boolean>();
  const isIn = (version: string | null): boolean => {
    const verdict = known.get(version) ?? satisfies(version, range);
    known.set(version, verdict);
    return verdict;
  };
  return [({ row }) => row.runtimes.some((r) => r.name === name && isIn(r.version))];
}
