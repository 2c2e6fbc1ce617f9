import { describe, expect, test } from "bun:test";
import { nodeListSchema, type RegisterRequest, trackerListSchema } from "@fleet/protocol";
import { nodeId, streamId } from "../../testing.ts";
import { Api, OPERATOR } from "../testing.ts";

const LIST = "/api/v1/agents";
const token = OPERATOR;

async function page(api: Api, query: string) {
  const answer = await api.call("GET", `${LIST}?${query}`, { token });
  expect(answer.status).toBe(200);
  const { agents, next_cursor: next } = nodeListSchema.parse(answer.body);
  return { ids: agents.map((a): string => a.node_id), next };
}

async function pages(api: Api, query: string): Promise<string[][]> {
  const all: string[][] = [];
  let cursor: string | undefined;
  do {
    const { ids, next } = await page(api, cursor ? `${query}&cursor=${cursor}` : query);
    all.push(ids);
    cursor = next;
  } while (cursor !== undefined);
  return all;
}

async function wrong(api: Api, path: string): Promise<string> {
  const answer = await api.call("GET", path, { token });
  const { error } = answer.body as { error: { code: string; message: string } };
  expect([answer.status, error.code]).toEqual([400, "bad_request"]);
  return error.message;
}

function runtime(name: string, version: string | null) {
  return { name, version, path: null };
}

describe("the list of nodes (R8)", () => {
  test("contains the nodes that match every filter", async () => {
    await using api = new Api();
    const more: Record<string, Partial<RegisterRequest>> = {
      a: { group: "radar", labels: { site: "hill", "x=y": "1" }, name: "North Mast" },
      b: { group: "radar", runtimes: [runtime("python", "3.8.2"), runtime("node", "20.1")] },
      c: { labels: { site: "dale=low", kind: "mast" }, class: "ephemeral" },
      mast: { labels: { site: "hill", kind: "mast" }, runtimes: [runtime("python", null)] },
    };
    await api.register("a", more["a"]);
    api.clock.advance(100_000);
    for (const id of ["b", "c", "mast"]) await api.register(id, more[id]);
    api.registry.heardPlain(nodeId("z"), null);
    const found: Record<string, readonly string[]> = {
      "": ["a", "b", "c", "mast", "z"],
      "status=STALE": ["a"],
      "status=LIVE": ["b", "c", "mast", "z"],
      "status=LIVE&status=STALE": ["a", "b", "c", "mast", "z"],
      "status=DEAD": [],
      "group=radar": ["a", "b"],
      "group=radar&status=LIVE": ["b"],
      "kind=plain": ["z"],
      "class=ephemeral": ["c"],
      "label=site=hill": ["a", "mast"],
      "label=site=hill&label=kind=mast": ["mast"],
      "label=site%3Ddale%3Dlow": ["c"],
      "label=constructor=1": [],
      "label=site=": [],
      "runtime=python": ["b", "mast"],
      "runtime=python@>=3.8,<4": ["b"],
      "runtime=python@>=3.9": [],
      "runtime=node@20": ["b"],
      "runtime=python@*": ["b", "mast"],
      "q=MAST": ["a", "mast"],
      "q=mast&kind=agent&status=LIVE": ["mast"],
    };
    for (const [query, ids] of Object.entries(found))
      expect([query, (await page(api, query)).ids]).toEqual([query, [...ids]]);
  });

  test("is paged without repetition or gap, whatever the filter and the page size", async () => {
    await using api = new Api();
    const ids = ["n3", "n0", "n6", "N1", "n5", "n2", "n_1", "n4"];
    for (const [at, id] of ids.entries()) await api.register(id, at < 4 ? { group: "first" } : {});
    const sorted = ["N1", "n0", "n2", "n3", "n4", "n5", "n6", "n_1"];
    expect(await pages(api, "")).toEqual([sorted]);
    for (let limit = 1; limit <= 9; limit++) {
      const all = await pages(api, `limit=${limit}`);
      expect(all.flat()).toEqual(sorted);
      // A full page has a cursor only if more nodes follow.
      expect(all).toHaveLength(Math.ceil(sorted.length / limit));
    }
    expect(await pages(api, "group=first&limit=3")).toEqual([["N1", "n0", "n3"], ["n6"]]);
  });

  test("continues correctly when nodes appear or vanish between two pages, even the last one listed", async () => {
    await using api = new Api();
    for (const id of ["b", "d", "f", "h"]) await api.register(id);
    const first = await page(api, "limit=2");
    expect(first.ids).toEqual(["b", "d"]);
    for (const id of ["b", "d", "f"]) await api.registry.remove(nodeId(id));
    for (const id of ["a", "e", "g"]) await api.register(id);
    const second = await page(api, `limit=2&cursor=${first.next}`);
    expect(second.ids).toEqual(["e", "g"]);
    expect(await page(api, `cursor=${second.next}`)).toEqual({ ids: ["h"], next: undefined });
  });

  test("names the wrong parameter and the allowed values", async () => {
    await using api = new Api();
    const hints: Record<string, string> = {
      "limit=0": "limit: Too small: expected number to be >=1",
      "limit=1001": "limit: Too big: expected number to be <=1000",
      "limit=x": "limit: Invalid input: expected number",
      "limit=1.5": "limit: Invalid input: expected int",
      "limit=1&limit=2": "limit: must not be repeated",
      "status=live": 'status.0: Invalid option: expected one of "UNKNOWN"|"LIVE"',
      "kind=robot": 'kind: Invalid option: expected one of "agent"|"plain"',
      "cursor=../x": "cursor: must be the next_cursor of an earlier page",
      "cursor=": "cursor: must be the next_cursor",
      "cursor=n1": "cursor: must be the next_cursor",
      "label=nothing": "label.0: must be NAME=VALUE",
      "runtime=@1": "runtime: must be NAME or NAME@RANGE",
      "runtime=python@x.y.z.w": 'runtime: "x.y.z.w" is not a version range',
      "state=LIVE": "state: unknown parameter; known are status, kind, class, group, label",
    };
    for (const [query, hint] of Object.entries(hints))
      expect(await wrong(api, `${LIST}?${query}`)).toContain(hint);
    const many = "label=a=b&".repeat(17);
    expect(await wrong(api, `${LIST}?${many}`)).toContain("label: Too big");
  });

  test("of an unknown node is 404; an id may be percent-encoded", async () => {
    await using api = new Api();
    for (const id of ["none", "__proto__", "%00", "%E0%A4%A", "..%2fx"]) {
      const { status, body } = await api.call("GET", `${LIST}/${id}`, { token });
      expect([status, body]).toMatchObject([404, { error: { code: "unknown_node" } }]);
    }
    await api.register("radar3");
    const { status, body } = await api.call("GET", `${LIST}/%72adar%33`, { token });
    expect([status, body]).toMatchObject([200, { node_id: "radar3" }]);
  });
});

describe("the list of trackers (R8, T9)", () => {
  const TRACKERS = "/api/v1/trackers";

  test("is filtered and paged the same way", async () => {
    await using api = new Api({ ports: 3 });
    for (const id of ["b.x", "a", "b.y"]) api.manager.attach(streamId(id));
    const list = async (query: string) => {
      const { body } = await api.call("GET", `${TRACKERS}?${query}`, { token });
      const { trackers, next_cursor: next } = trackerListSchema.parse(body);
      return { ids: trackers.map((t): string => t.stream_id), next };
    };
    expect((await list("")).ids).toEqual(["a", "b.x", "b.y"]);
    expect((await list("node_id=b&state=STARTING&mode=tcp")).ids).toEqual(["b.x", "b.y"]);
    expect((await list("state=OUTAGE&state=RUNNING")).ids).toEqual([]);
    const first = await list("limit=2");
    expect(first.ids).toEqual(["a", "b.x"]);
    expect(await list(`limit=2&cursor=${first.next}`)).toEqual({ ids: ["b.y"], next: undefined });
    for (const query of ["limit=0", "state=running", "node_id=a.b", "cursor=%2e", "status=x"])
      expect(await wrong(api, `${TRACKERS}?${query}`)).toContain(query.split("=")[0]!);
  });
});
