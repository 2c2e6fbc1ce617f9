import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv from "ajv/dist/2020.js";
import { nodeId, streamId } from "../../testing.ts";
import { ACCESS } from "../middleware/access.ts";
import { Api, ENROLL, OPERATOR } from "../testing.ts";
import { type OpenApiDocument, openApiDocument } from "./document.ts";

const document = openApiDocument("1.2.3");
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
);

function routesOf(api: Api): string[] {
  const routes = api.app.routes.filter((r) => r.method !== "ALL");
  const named = routes.map((r) => `${r.method} ${r.path.replaceAll(/:(\w+)/g, "{$1}")}`);
  return [...new Set(named)].toSorted();
}

/** The schema with additional properties forbidden. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]) => [key, strict(value)] as const);
  const closed = "properties" in schema && !("additionalProperties" in schema);
  return { ...Object.fromEntries(entries), ...(closed ? { additionalProperties: false } : {}) };
}

function checkerOf({ components }: OpenApiDocument): Ajv {
  const ajv = new Ajv({ validateFormats: false, strict: false });
  ajv.addSchema({ $id: "fleet", components: strict(components) as object });
  return ajv;
}

describe("the API's document (H4)", () => {
  test("describes exactly the routes that the application serves", async () => {
    await using api = new Api();
    const described = operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(described.toSorted()).toEqual(routesOf(api));
  });

  test("is OpenAPI 3.1", async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate({ ...document });
    expect(errors).toBeUndefined();
    expect([valid, validator.version]).toEqual([true, "3.1"]);
  });

  test("is served to anybody, unchanged", async () => {
    await using api = new Api();
    const { status, headers, body } = await api.call("GET", "/openapi.json");
    expect([status, headers.get("Content-Type")]).toEqual([200, "application/json"]);
    expect(body).toEqual(JSON.parse(JSON.stringify(document)));
  });

  test("has a unique operationId and a summary for each route, and a description for each parameter", () => {
    const ids = operations.map((o) => o.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, summary, parameters } of operations) {
      expect(summary).toMatch(/^[A-Z]/);
      const inPath = parameters.filter((p) => p.in === "path").map((p) => `{${p.name}}`);
      expect([...path.matchAll(/{\w+}/g)].map(String)).toEqual(inPath);
      for (const parameter of parameters)
        expect([path, parameter.description]).not.toContain(undefined);
    }
  });

  test("describes each field of each body", () => {
    const unsaid: string[] = [];
    const look = (path: string, schema: unknown): void => {
      if (typeof schema !== "object" || schema === null) return;
      const fields = Object.entries((schema as { properties?: object }).properties ?? {});
      for (const [name, field] of fields)
        if (!("description" in field)) unsaid.push(`${path}.${name}`);
      for (const part of Object.values(schema)) look(path, part);
    };
    for (const [name, schema] of Object.entries(document.components.schemas)) look(name, schema);
    expect(unsaid).toEqual([]);
  });

  test("states the access of each route as the access table does", () => {
    const takes = (path: string, method: string): unknown =>
      document.paths[path]![method]!.security;
    expect(takes("/api/v1/agents/{id}", "delete")).toEqual([{ operator: ["admin"] }]);
    expect(takes("/api/v1/agents", "get")).toEqual([{ operator: ["viewer"] }]);
    expect(takes("/api/v1/agents/register", "post")).toEqual([{ enrolment: [] }, { refresh: [] }]);
    for (const { path, method, security, responses } of operations) {
      const route = `${method.toUpperCase()} ${path.replaceAll(/{(\w+)}/g, ":$1")}`;
      const isOpen = ACCESS[route] === "open";
      // Open unless the config closes it, so it describes the refusal too.
      if (route === "GET /metrics") {
        expect([security.length, "401" in responses]).toEqual([0, true]);
        continue;
      }
      expect([route, security.length === 0, !("401" in responses)]).toEqual([
        route,
        isOpen,
        isOpen,
      ]);
    }
  });

  test("lists each query parameter with its limits, and repeatable ones as lists", () => {
    const { parameters } = document.paths["/api/v1/agents"]!["get"]!;
    const byName = Object.fromEntries(parameters.map((p) => [p.name, p]));
    const limit = { type: "integer", minimum: 1, maximum: 1000, default: 1000 };
    expect(byName["limit"]).toMatchObject({ in: "query", required: false, schema: limit });
    const states = ["UNKNOWN", "LIVE", "STALE", "DEAD", "SHUTDOWN"];
    expect(byName["status"]!.schema).toMatchObject({ type: "array", items: { enum: states } });
    const [arch] = document.paths["/api/v1/agent/binary"]!["get"]!.parameters;
    expect(arch).toMatchObject({ name: "arch", required: true });
  });

  test("describes the response of each GET exactly, with no field missing or undocumented", async () => {
    const dir = mkdtempSync(join(tmpdir(), "agents-"));
    mkdirSync(join(dir, "x86_64"));
    writeFileSync(join(dir, "x86_64/fleet-agent"), "agent");
    await using api = new Api({ dir });
    const ajv = checkerOf(document);
    const python = { name: "python", version: "3.12.4", path: null };
    const sensors = [{ name: "radar" as never, runtime: "python", mode: "stream" as const }];
    const { access_token } = await api.register("radar3", { runtimes: [python], sensors });
    const counters = { produced: 1, acked: 1, spooled: 0, dropped: {} };
    api.registry.heard(nodeId("radar3"), { radar: counters });
    await api.registry.block(nodeId("bad"));
    api.manager.attach(streamId("radar3.radar"));
    await api.token({ name: "hill", kind: "push", nodes: ["hill*"], expires_in_ms: 1000 });
    await api.call("DELETE", "/api/v1/tokens/none", { token: OPERATOR });
    const checked: string[] = [];
    for (const { path, method, responses, security } of operations) {
      const schema = responses["200"]?.content?.["application/json"]?.schema;
      if (method !== "get" || schema === undefined) continue;
      const url = path.replace("{id}", "radar3").replace("{stream}", "radar3.radar");
      const token = path.endsWith("whoami") ? access_token : OPERATOR;
      const answer = await api.call("GET", url, security.length === 0 ? {} : { token });
      const isRight = ajv.validate(
        { $ref: `fleet${(schema as { $ref: string }).$ref}` },
        answer.body,
      );
      expect([path, answer.status, ajv.errorsText()]).toEqual([path, 200, "No errors"]);
      expect(isRight).toBe(true);
      checked.push(path);
    }
    rmSync(dir, { recursive: true });
    for (const path of ["/api/v1/agents", "/api/v1/agents/{id}", "/api/v1/agent/info", "/readyz"])
      expect(checked).toContain(path);
  });

  test("describes request and response of a registration exactly", async () => {
    await using api = new Api();
    const ajv = checkerOf(document);
    const asked = { node_id: "hill", instance_id: "i1", version: "1" };
    expect(ajv.validate({ $ref: "fleet#/components/schemas/Register" }, asked)).toBe(true);
    const answer = await api.call("POST", "/api/v1/agents/register", {
      token: ENROLL,
      body: asked,
    });
    expect(ajv.validate({ $ref: "fleet#/components/schemas/Registered" }, answer.body)).toBe(true);
    for (const wrong of [
      { ...asked, node_id: "a.b" },
      { node_id: "hill" },
      { ...asked, class: "x" },
    ])
      expect(ajv.validate({ $ref: "fleet#/components/schemas/Register" }, wrong)).toBe(false);
  });
});

describe("the reference page (H4)", () => {
  test("shows every route and every schema, and has no scripts and loads nothing", async () => {
    await using api = new Api();
    const response = await fetch(api.url("/docs"));
    const page = await response.text();
    expect([response.status, response.headers.get("Content-Type")]).toEqual([
      200,
      "text/html; charset=UTF-8",
    ]);
    expect(response.headers.get("Content-Security-Policy")).toContain("default-src 'none'");
    for (const { operationId, path } of operations) {
      expect(page).toContain(`id="${operationId}"`);
      expect(page).toContain(`<code>${path}</code>`);
    }
    for (const name of Object.keys(document.components.schemas))
      expect(page).toContain(`id="schema-${name}"`);
    const links = [...page.matchAll(/href="([^"]*)"/g)].map(([, to = ""]) => to);
    for (const to of links)
      if (to !== "openapi.json") expect(page).toContain(`id="${to.replace(/^#/, "")}"`);
    for (const hidden of ["<script", "src=", "@import", "url(", "[object Object]", "undefined"])
      expect(page).not.toContain(hidden);
  });
});
