/**
 * `GET /api/v1/events?topic=`: the bus as server-sent events. A client is disconnected when EVENTS_BUFFERED_MAX events wait
 * for it, and when its token ends. (H5)
 */
import { type Clock, Counts, every, EventWriter } from "@fleet/daemon";
import { eventsApi } from "@fleet/protocol";
import type { Tokens } from "../../auth/tokens.ts";
import { type Bus, payloadOf, topicOf } from "../../bus.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";

const EVENTS_BUFFERED_MAX = 1000;
/** Open streams of one token: one reader must not take the places of all others. */
const STREAMS_PER_TOKEN_MAX = 256;
const KEEPALIVE_MS = 15_000;
/** How long a disconnected client may take to read what was already sent, in seconds. */
const DRAIN_S = 5;
const HEADERS = { "Content-Type": "text/event-stream" };

/** The route. */
export function eventRoute(bus: Bus, clock: Clock, tokens: Tokens): Route {
  const openOf = new Counts();
  return handle(eventsApi.follow, (c, { query }) => {
    // A HEAD has no body to stream to.
    if (c.req.method === "HEAD") return new Response(null, { headers: HEADERS });
    const own = c.get("token");
    if (openOf.get(own.id) >= STREAMS_PER_TOKEN_MAX)
      return fail(c, "too_many_subscribers", "this token has too many open event streams");
    const cleanups: (() => void)[] = [];
    const writer = new EventWriter({ events: EVENTS_BUFFERED_MAX }, (cause) => {
      for (const cleanUp of cleanups) cleanUp();
      if (cause === "server") c.env.allowSilence(DRAIN_S);
    });
    const unsubscribe = bus.subscribe(query.topic, (event) =>
      writer.send({
        event: topicOf(event),
        data: JSON.stringify({ at_ms: event.atMs, ...payloadOf(event) }),
      }),
    );
    if (unsubscribe === undefined) return fail(c, "too_many_subscribers");
    openOf.add(own.id);
    const keepalive = every(clock, KEEPALIVE_MS, () => writer.comment("keepalive"));
    const unlisten = tokens.ended.add((token) => {
      if (token.id === own.id) writer.close();
    });
    cleanups.push(
      unsubscribe,
      unlisten,
      () => keepalive.cancel(),
      () => openOf.add(own.id, -1),
    );
    c.env.allowSilence(0);
    writer.comment("open");
    return new Response(writer.body, { headers: HEADERS });
  });
}
