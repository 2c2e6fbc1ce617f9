import { afterEach, expect, test } from "bun:test";
import { ApiClient } from "@fleet/api-client";
import { TestAuthority, type TestPair } from "@fleet/daemon/testing";
import { serviceApi } from "@fleet/protocol";
import { certificateProblem } from "./certificate-problem.ts";

const servers: Bun.Server<undefined>[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) void server.stop(true);
});

test("problems of the coordinator's certificate are told apart (H5)", async () => {
  const authority = new TestAuthority();
  const at = (pair: TestPair): string => {
    const fetch = (): Response => Response.json({ status: "ok", version: "1" });
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, tls: pair, fetch });
    servers.push(server);
    return `https://localhost:${server.port}`;
  };
  const good = at(authority.issue());
  const other = new TestAuthority("Other");
  const bad: readonly (readonly [url: string, ca: string | undefined, found: string])[] = [
    [good, undefined, "is not signed by an authority that the agent trusts"],
    [good, other.cert, "is not signed by an authority that the agent trusts"],
    [at(authority.issue({ to: 2021 })), authority.cert, "has expired"],
    [at(authority.issue({ names: ["hill.example"] })), authority.cert, "is for another host name"],
  ];
  for (const [url, ca, found] of bad) {
    const reply = await new ApiClient({ url, ca }).attempt(serviceApi.health, {});
    if (reply.at !== "unreachable") throw new Error("it was believed");
    expect(certificateProblem(reply.reason)?.found).toBe(found);
  }
});
