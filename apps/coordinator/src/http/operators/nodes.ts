/** The operators' routes for nodes: list, get, remove. (R4, R5, R8) */
import {
  cursorAfter,
  type NodeId,
  type NodeList,
  type NodeListQuery,
  nodesApi,
  type NodeView,
} from "@fleet/protocol";
import type { Node } from "../../registry/node.ts";
import type { Registry } from "../../registry/registry.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";

/** Nodes fetched from the registry at a time; most pages end long before the list does. */
const CHUNK = 256;

/** The routes. */
export function nodeRoutes(registry: Registry): readonly Route[] {
  return [
    handle(nodesApi.list, async (c, { query }) => {
      const list = await listNodes(registry, query);
      return typeof list === "string" ? fail(c, "bad_request", list) : list;
    }),

    handle(nodesApi.get, (c, { params, query }) => {
      const node = registry.get(params.id);
      if (node === undefined) return fail(c, "unknown_node");
      return {
        ...nodeView(registry, node),
        history: [...registry.history(node.id, query.history)],
      };
    }),

    handle(nodesApi.remove, async (c, { params, query }) => {
      if (query.block === "true")
        return (await registry.block(params.id)) ? undefined : fail(c, "too_many_blocked");
      return (await registry.remove(params.id)) ? undefined : fail(c, "unknown_node");
    }),
  ];
}

type Filter = (node: Node) => boolean;

/**
 * A page of nodes, ordered by id. Nodes that appear or vanish between two pages shift nothing, since each page begins behind
 * the last id of the previous one. A string says what is wrong with the query.
 */
async function listNodes(registry: Registry, query: NodeListQuery): Promise<NodeList | string> {
  const ofRuntime = await runtimeFilter(query.runtime);
  if (typeof ofRuntime === "string") return ofRuntime;
  const filters = [...filtersOf(registry, query), ...ofRuntime];
  const agents: NodeView[] = [];
  for (const node of nodesAfter(registry, query.cursor)) {
    if (!filters.every((matches) => matches(node))) continue;
    if (agents.length === query.limit)
      return { agents, next_cursor: cursorAfter(agents.at(-1)!.node_id) };
    agents.push(nodeView(registry, node));
  }
  return { agents };
}

function nodeView(registry: Registry, node: Node): NodeView {
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

function* nodesAfter(registry: Registry, id: NodeId | undefined): Generator<Node> {
  for (let some = registry.list(id, CHUNK); some.length > 0;) {
    yield* some;
    some = registry.list(some.at(-1)!.id, CHUNK);
  }
}

/** The cheapest filters come first. */
function filtersOf(registry: Registry, query: NodeListQuery): Filter[] {
  const { status, label, kind, class: nodeClass, group, q } = query;
  const all: Filter[] = [];
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

/** The filter for `name` or `name@range`. A string says what is wrong with it. */
async function runtimeFilter(text: string | undefined): Promise<readonly Filter[] | string> {
  if (text === undefined) return [];
  const at = text.indexOf("@");
  if (at < 0) return [({ row }) => row.runtimes.some((r) => r.name === text)];
  const [name, range] = [text.slice(0, at), text.slice(at + 1)];
  // Loaded on demand: version ranges take long to load and are rarely used.
  const { satisfies, VersionRangeError } = await import("@fleet/runtimes/version-range");
  try {
    satisfies(null, range);
  } catch (error) {
    if (error instanceof VersionRangeError) return `runtime: ${error.message}`;
    throw error;
  }
  // Remembered for each version: a fleet has few of them, and comparing takes time.
  const known = new Map<string | null, boolean>();
  const isIn = (version: string | null): boolean => {
    const verdict = known.get(version) ?? satisfies(version, range);
    known.set(version, verdict);
    return verdict;
  };
  return [({ row }) => row.runtimes.some((r) => r.name === name && isIn(r.version))];
}
