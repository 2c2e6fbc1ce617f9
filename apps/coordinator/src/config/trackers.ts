/**
 * `trackers` of the configuration: the streams that are known before a frame comes. `name` is what an entry is called, once
 * in the list. A `tcp` entry is for the streams of the node `node_id`, which is its name unless it says otherwise. An `http`
 * entry's frames are fetched, and its name is the id of the node they come from. (T2, T7)
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type NodeId, nodeIdSchema } from "@fleet/protocol";
import { z } from "zod";
import { duration } from "./units.ts";

const ENTRIES_MAX = 1000;
const INTERVAL_MS_MIN = 50;

/** Where frames are fetched from. */
export interface DetectionUrl {
  /** What is asked for. Holds no user and password, but perhaps a key in its query. */
  readonly href: string;
  /** What people may see of it: no user, password or query. */
  readonly shown: string;
  /** The `Authorization` header that the user and password of the URL amount to. (RFC 7617) */
  readonly authorization: string | undefined;
}

const detectionUrl = z.string().transform((text, ctx): DetectionUrl => {
  const url = parseDetectionUrl(text);
  if (url !== undefined) return url;
  // The text may hold a password, so it is not repeated.
  ctx.addIssue({ code: "custom", message: "is not a URL like http://hill:8080/api/detection" });
  return z.NEVER;
});

/** Certificates of the authorities that may vouch for the server, instead of the usual ones; gives their text. */
const caFile = z
  .string()
  .min(1)
  .transform((path, ctx) => {
    try {
      const pem = readFileSync(path, "utf8");
      void new X509Certificate(pem);
      return pem;
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      const isUnread = /^E[A-Z]+$/.test(code);
      const message = isUnread ? `can't be read: ${code}` : "holds no certificate in PEM";
      ctx.addIssue({ code: "custom", message: `${path} ${message}` });
      return z.NEVER;
    }
  });

const tcpEntry = z
  .strictObject({ name: nodeIdSchema, mode: z.literal("tcp"), node_id: nodeIdSchema.optional() })
  .transform(({ name, mode, node_id: node = name }) => ({ name, mode, node_id: node }));

const httpEntry = z
  .strictObject({
    name: nodeIdSchema,
    mode: z.literal("http"),
    detection_url: detectionUrl,
    ca_file: caFile.optional(),
    interval: duration
      .refine((ms) => ms >= INTERVAL_MS_MIN, `must be at least ${INTERVAL_MS_MIN}ms`)
      .default(500),
  })
  .transform(({ ca_file: ca, ...entry }) => ({ ...entry, node_id: entry.name, ca }));

type Entry = { readonly name: NodeId; readonly node_id: NodeId };

/** The list, with nothing in it twice: each node's stream has one source. */
export const trackerEntriesSchema = z
  .array(z.discriminatedUnion("mode", [tcpEntry, httpEntry]))
  .max(ENTRIES_MAX)
  .default([])
  .superRefine((entries: readonly Entry[], ctx) => {
    for (const key of ["name", "node_id"] as const) {
      const seen = new Map<NodeId, number>();
      for (const [at, entry] of entries.entries()) {
        const first = seen.get(entry[key]);
        seen.set(entry[key], first ?? at);
        // Of the same name and the same node, one complaint is enough.
        if (first === undefined || (key === "node_id" && entries[first]?.name === entry.name))
          continue;
        const message =
          key === "name"
            ? `trackers.${first} is called "${entry.name}" too`
            : `trackers.${first} is for node "${entry.node_id}" too`;
        ctx.addIssue({ code: "custom", message, path: [at, key] });
      }
    }
  });

function parseDetectionUrl(text: string): DetectionUrl | undefined {
  try {
    const url = new URL(text);
    if (url.protocol !== "http:" && url.protocol !== "https:") return undefined;
    const user = decodeURIComponent(url.username);
    const password = decodeURIComponent(url.password);
    url.username = "";
    url.password = "";
    url.hash = "";
    const basic = Buffer.from(`${user}:${password}`).toString("base64");
    const authorization = user === "" && password === "" ? undefined : `Basic ${basic}`;
    return { href: url.href, shown: url.origin + url.pathname, authorization };
  } catch {
    return undefined;
  }
}
