/**
 * `trackers` in the configuration: the streams known before their first frame. Names are unique. A `tcp` entry describes the
 * streams of node `node_id`, by default its name. The frames of an `http` entry are fetched, and its name is the node's id.
 * Part of the schema in config.ts. (T2, T7)
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type NodeId, nodeIdSchema } from "@fleet/protocol";
import { z } from "zod";
import { duration } from "./units.ts";

const ENTRIES_MAX = 1000;
const INTERVAL_MS_MIN = 50;

/** A URL to fetch frames from, split so that secrets can't be shown by mistake. */
export interface DetectionUrl {
  /** The URL to request. Without user and password, but its query may hold a key. */
  readonly href: string;
  /** What the API and logs show: no user, password or query. */
  readonly shown: string;
  /** The `Authorization` header made from the URL's user and password. (RFC 7617) */
  readonly authorization: string | undefined;
}

const detectionUrl = z.string().transform((text, ctx): DetectionUrl => {
  const url = parseDetectionUrl(text);
  if (url !== undefined) return url;
  // Not quoted in the message, because it may hold a password.
  ctx.addIssue({ code: "custom", message: "is not a URL like http://hill:8080/api/detection" });
  return z.NEVER;
});

/** Path of a PEM file with the CAs to trust instead of the system's; the output is the file's text. */
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

/** The list. Names and nodes are unique, so that each stream has one source. */
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
        // For the same name and the same node, one problem is enough.
        if (first === undefined || (key === "node_id" && entries[first]?.name === entry.name))
          continue;
        const message =
          key === "name"
            ? `"${entry.name}" is already the name of trackers.${first}`
            : `"${entry.node_id}" is already the node of trackers.${first}`;
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
