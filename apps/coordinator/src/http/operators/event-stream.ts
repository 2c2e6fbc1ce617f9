/**
 * `GET /api/v1/events?topic=`: the bus as server-sent events (WHATWG HTML §9.2). A reader that does not keep up is
 * disconnected when EVENTS_BUFFERED_MAX wait for it, or when its token ends. (DESIGN §8, H5)
 */
import { type Clock, every } from "@fleet/daemon";
import { type Context, Hono } from "hono";
import type { Tokens } from "../../auth/tokens.ts";
import type { Bus } from "../../bus.ts";
import { fail } from "../middleware/errors.ts";
import { eventsQuery, parseQuery } from "../middleware/queries.ts";
import type { AppEnv } from "../server.ts";

const EVENTS_BUFFERED_MAX = 1000;
const KEEPALIVE_MS = 15_000;
/** How long a reader that was cut off may take to read what was sent to it, seconds. */
const CUT_S = 5;
const HEADERS = { "Content-Type": "text/event-stream", "Cache-Control": "no-store" };

/** The route below `/api/v1/events`. `*` in a topic stands for one part, a last `>` for the rest; default: everything. */
export function eventRoutes(bus: Bus, clock: Clock, tokens: Tokens): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  routes.get("/", (c) => openStream(bus, clock, tokens, c));
  return routes;
}

function openStream(bus: Bus, clock: Clock, tokens: Tokens, c: Context<AppEnv>): Response {
  const query = parseQuery(c, eventsQuery);
  if (!query.ok) return fail(c, "bad_request", query.detail);
  // Nobody would read the stream that a HEAD opens.
  if (c.req.method === "HEAD") return new Response(null, { headers: HEADERS });
  const { topic } = query.data;
  const encoder = new TextEncoder();
  let close = (): void => {};
  let subscribed = false;
  const shown = c.get("token");
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const cut = (): void => {
          close();
          controller.close();
          c.env.allowSilence(CUT_S);
        };
        const send = (text: string): void => {
          if ((controller.desiredSize ?? 0) <= 0) {
            cut();
            return;
          }
          controller.enqueue(encoder.encode(text));
        };
        const unsubscribe = bus.subscribe(topic, (event) =>
          send(
            `event: ${event.topic}\ndata: ${JSON.stringify({ at_ms: event.atMs, ...asObject(event.data) })}\n\n`,
          ),
        );
        if (unsubscribe === undefined) return;
        subscribed = true;
        const keepalive = every(clock, KEEPALIVE_MS, () => send(": keepalive\n\n"));
        const forget = tokens.onEnd((token) => {
          if (token.id === shown?.id) cut();
        });
        close = () => {
          keepalive.cancel();
          unsubscribe();
          forget();
        };
        send(": open\n\n");
      },
      cancel: () => close(),
    },
    { highWaterMark: EVENTS_BUFFERED_MAX, size: () => 1 },
  );
  if (!subscribed) return fail(c, "too_many_subscribers");
  c.env.allowSilence(0);
  return new Response(body, { headers: HEADERS });
}

function asObject(data: unknown): Record<string, unknown> {
  return typeof data === "object" && data !== null ? { ...data } : { data };
}
