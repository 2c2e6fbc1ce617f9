/** How a route is described: the words, and the schemas that check what goes in and comes out. (H4) */
import type { z } from "zod";
import type { ErrorCode } from "../middleware/errors.ts";

/** What comes with an answer that is not an error. */
export interface Answer {
  readonly description: string;
  /** A named schema (schemas.ts), for JSON. */
  readonly schema?: z.ZodType;
  /** The media type of what is not JSON. */
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Who may come in, where the table of roles (access.ts) leaves it to the route. */
export type Scheme = "enrolment" | "enrolmentHeader" | "push" | "access" | "refresh" | "operator";

/** One route. Errors that follow from who may use it, and from its query and body, are added by document.ts. */
export interface Operation {
  readonly tag: Tag;
  /** Also its name in code that is made from the document: words, the first a verb. */
  readonly summary: string;
  readonly description?: string;
  readonly params?: Readonly<Record<string, z.ZodType>>;
  readonly query?: z.ZodObject;
  /** A named schema (schemas.ts). */
  readonly body?: z.ZodType;
  /** The body is text, and may be absent: what it is. */
  readonly textBody?: string;
  readonly answers: Readonly<Record<number, Answer>>;
  readonly errors?: readonly ErrorCode[];
  /** Any of these; for routes of the kinds `node`, `download` and `token`. */
  readonly schemes?: readonly Scheme[];
}

/** The groups that routes are shown in, with what they are about. */
export const TAGS = {
  agents: "What agents ask for themselves.",
  nodes: "The nodes of the fleet, for operators.",
  trackers: "What runs for which stream, and the tracks it found.",
  access: "Tokens, keys, and who did what.",
  downloads: "Agents to be downloaded.",
  service: "The coordinator itself.",
} as const;
export type Tag = keyof typeof TAGS;
