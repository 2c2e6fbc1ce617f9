import { describe, expect, test } from "bun:test";
import type { Token } from "../../auth/token.ts";
import { registration } from "../../testing.ts";
import type { NodeRow } from "../node.ts";
import { decideEnrolment, type EnrolmentProof } from "./policy.ts";

const enrolment = (limits: Partial<Token> = {}): EnrolmentProof => ({
  at: "enrolment",
  token: { nodes: [], groups: [], ...limits } as unknown as Token,
});
const refresh = (...groups: readonly string[]): EnrolmentProof => ({ at: "refresh", groups });

const request = (more: { instance_id?: string; group?: string } = {}) =>
  registration({ node_id: "radar3", instance_id: "i1", ...more });
const row = (change: Partial<NodeRow> = {}): NodeRow =>
  ({ nodeId: "radar3", kind: "agent", instanceId: "i1", group: null, ...change }) as NodeRow;

describe("an agent that registers", () => {
  test("is new, known, or takes the node over", () => {
    expect(decideEnrolment(enrolment(), request(), undefined, false)).toBe("ok");
    expect(decideEnrolment(enrolment(), request(), row({ kind: "plain" }), false)).toBe("ok");
    expect(decideEnrolment(enrolment(), request(), row(), false)).toBe("again");
    expect(decideEnrolment(refresh(), request({ instance_id: "i2" }), row(), false)).toBe(
      "reenrolled",
    );
  });

  test("takes over a known node with an enrolment token only where that is allowed", () => {
    const other = request({ instance_id: "i2" });
    expect(decideEnrolment(enrolment(), other, row(), true)).toBe("reenrolled");
    expect(decideEnrolment(enrolment(), other, row(), false)).toBe("reenroll_refused");
  });

  test("without an instance id is known by its address", () => {
    const at = (agent_url: string) => ({ ...request(), instance_id: null, agent_url });
    const known = row({ instanceId: null, agentUrl: "http://a" });
    expect(decideEnrolment(enrolment(), at("http://a"), known, false)).toBe("again");
    expect(decideEnrolment(enrolment(), at("http://b"), known, false)).toBe("reenroll_refused");
  });
});

describe("a token's scope", () => {
  test("limits an enrolment to its nodes", () => {
    expect(decideEnrolment(enrolment({ nodes: ["radar*"] }), request(), undefined, true)).toBe(
      "ok",
    );
    expect(decideEnrolment(enrolment({ nodes: ["mast*"] }), request(), undefined, true)).toBe(
      "forbidden",
    );
  });

  test.each([
    [undefined, undefined, "forbidden"],
    ["north", undefined, "ok"],
    ["south", undefined, "forbidden"],
    ["north", row({ group: "north" }), "again"],
    ["north", row({ group: "south" }), "forbidden"],
    ["north", row({ group: null }), "forbidden"],
    ["north", row({ kind: "plain", group: null }), "ok"],
    ["north", row({ kind: "plain", group: "south" }), "forbidden"],
  ])(
    "limits an enrolment into group %p to the token's groups, from the old group too (%#)",
    (group, previous, decision) => {
      const asked = request(group === undefined ? {} : { group });
      expect(decideEnrolment(enrolment({ groups: ["north"] }), asked, previous, true)).toBe(
        decision as never,
      );
    },
  );

  test("still limits the credentials that an enrolment led to", () => {
    expect(decideEnrolment(refresh("north"), request({ group: "north" }), row(), true)).toBe(
      "again",
    );
    expect(decideEnrolment(refresh("north"), request({ group: "south" }), row(), true)).toBe(
      "forbidden",
    );
    expect(decideEnrolment(refresh("north"), request(), row(), true)).toBe("forbidden");
    expect(decideEnrolment(refresh(), request({ group: "south" }), row(), true)).toBe("again");
  });
});
