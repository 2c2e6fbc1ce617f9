/** `GET /openapi.json` and `/docs`: the API's document and a page to read it on. Both are made when first asked for, once. (H4) */
import { Hono } from "hono";
import type { AppEnv } from "../server.ts";

/** The page has no scripts, and needs nothing from elsewhere. */
const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The two routes, outside the prefix. `version` is the coordinator's. */
export function referenceRoutes(version: string): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  let made: Promise<{ readonly json: string; readonly page: string }> | undefined;

  routes.get("/openapi.json", async (c) => {
    made ??= make(version);
    return c.body((await made).json, 200, { "Content-Type": "application/json" });
  });

  routes.get("/docs", async (c) => {
    made ??= make(version);
    c.header("Content-Security-Policy", PAGE_POLICY);
    return c.html((await made).page);
  });

  return routes;
}

async function make(version: string) {
  const [{ openApiDocument }, { referencePage }] = await Promise.all([
    import("./document.ts"),
    import("./page.ts"),
  ]);
  const document = openApiDocument(version);
  return { json: JSON.stringify(document), page: await referencePage(document) };
}
