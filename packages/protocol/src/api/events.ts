/** The operators' event stream. */
import { z } from "zod";
import { contract } from "./contract.ts";
import { TEXT_MAX } from "./fields.ts";

export const eventsApi = {
  follow: contract({
    method: "GET",
    path: "/api/v1/events",
    access: "viewer",
    tag: "events",
    summary: "Follow events",
    description:
      "Server-sent events. `event` is the topic (`node.<id>.<event>`, `tracker.<stream>.state`, `track.<stream>`), `data` a JSON object with `at_ms`. A client that does not keep up is disconnected.",
    query: z.object({
      topic: z
        .string()
        .max(TEXT_MAX)
        .regex(/^[A-Za-z0-9_*:>-]+(\.[A-Za-z0-9_*:>-]+)*$/, "not a topic pattern")
        .default(">")
        .describe("A topic pattern: `*` matches one part, a final `>` matches all that follow."),
    }),
    responses: { 200: { description: "The event stream.", type: "text/event-stream" } },
    errors: ["too_many_subscribers"],
  }),
};
