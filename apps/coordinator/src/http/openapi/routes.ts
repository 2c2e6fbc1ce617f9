/**
 * `GET /openapi.json` and `/docs`: the API's document and a page that shows it. Both are made once, on the first request.
 * (H4)
 */
import { serviceApi } from "@fleet/protocol";
import { handle, type Route } from "../route.ts";

/** The page has no scripts and loads nothing from elsewhere. */
const PAGE_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The routes. `version` is the coordinator's. */
export function referenceRoutes(version: string): readonly Route[] {
  let made: Promise<{ readonly json: string; readonly page: string }> | undefined;
  return [
    handle(serviceApi.document, async (c) => {
      made ??= make(version);
      return c.body((await made).json, 200, { "Content-Type": "application/json" });
    }),

    handle(serviceApi.reference, async (c) => {
      made ??= make(version);
      c.header("Content-Security-Policy", PAGE_POLICY);
      return c.html((await made).page);
    }),
  ];
}

async function make(version: string) {
  const [{ openApiDocument }, { referencePage }] = await Promise.all([
    import("./document.ts"),
    import("./page.ts"),
  ]);
  const document = openApiDocument(version);
  return { json: JSON.stringify(document), page: await referencePage(document) };
}
