/** The OpenAPI document and its page, as the built coordinator serves them from its own binary. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { Fleet } from "./rig/fleet.ts";

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

test("the built coordinator serves its OpenAPI document and an HTML reference (H4)", async () => {
  await fleet.coordinator();
  const base = `http://127.0.0.1:${fleet.ports.http}`;
  const document = (await (await fetch(`${base}/openapi.json`)).json()) as {
    readonly openapi: string;
    readonly paths: Record<string, unknown>;
  };
  expect(document.openapi).toMatch(/^3\.1\./);
  expect(document.paths).toHaveProperty(["/api/v1/agents/{id}", "get"]);
  const page = await (await fetch(`${base}/docs`)).text();
  for (const path of Object.keys(document.paths)) expect(page).toContain(`<code>${path}</code>`);
});
