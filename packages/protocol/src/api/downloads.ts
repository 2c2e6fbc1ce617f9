/** The routes that download an agent and its installer. (H8) */
import { z } from "zod";
import { contract } from "./contract.ts";
import type { ErrorCode } from "./errors.ts";

/** Carries the enrolment token of a download, so that `Authorization` stays free for an operator token. */
export const TOKEN_HEADER = "X-Fleet-Agent-Token";

/** The processors that agents are built for. */
export const AGENT_ARCHES = ["x86_64", "aarch64"] as const;
export type AgentArch = (typeof AGENT_ARCHES)[number];

/** `GET agent/info`. */
export const agentInfoSchema = z
  .object({
    agents: z
      .array(
        z.object({
          arch: z.enum(AGENT_ARCHES).describe("The processor that the agent is built for."),
          version: z.string().nullable().describe("The agent's version; null if unknown."),
          bytes: z.int().min(0).describe("The size of the file, in bytes."),
          sha256: z
            .string()
            .regex(/^[0-9a-f]{64}$/)
            .describe("The SHA-256 digest of the file, in hexadecimal."),
        }),
      )
      .describe("The available agents, one for each processor."),
  })
  .meta({ id: "AgentInfo" });
export type AgentInfo = z.infer<typeof agentInfoSchema>;

/** The names that Debian and Docker use. */
const ARCH_ALIASES: Readonly<Record<string, AgentArch>> = { amd64: "x86_64", arm64: "aarch64" };
const ARCH_PROBLEM = `must be one of ${AGENT_ARCHES.join(", ")} (or ${Object.keys(ARCH_ALIASES).join(", ")})`;

const binaryQuery = z.object({
  arch: z
    .enum([...AGENT_ARCHES, ...Object.keys(ARCH_ALIASES)], ARCH_PROBLEM)
    .transform((name) => ARCH_ALIASES[name] ?? (name as AgentArch))
    .describe("The processor, by either of its names."),
});

const UNAVAILABLE: readonly ErrorCode[] = ["no_downloads"];

const binary = contract({
  method: "GET",
  path: "/api/v1/agent/binary",
  access: "download",
  tag: "downloads",
  summary: "Download an agent",
  description:
    "The `fleet-agent` binary for a processor. Supports `Range` and `If-None-Match`. `HEAD` returns the headers alone.",
  query: binaryQuery,
  responses: {
    200: {
      description: "The file.",
      type: "application/octet-stream",
      headers: {
        ETag: "The SHA-256 digest of the file, quoted.",
        "X-Fleet-Agent-Sha256": "The SHA-256 digest of the file, in hexadecimal.",
        "X-Fleet-Agent-Version": "The agent's version, if known.",
      },
    },
    206: { description: "The requested range.", type: "application/octet-stream" },
    304: { description: "The file matches `If-None-Match`." },
    416: { description: "The range starts beyond the end of the file." },
  },
  errors: [...UNAVAILABLE, "unknown_arch", "agent_changing", "too_many_downloads"],
});

const info = contract({
  method: "GET",
  path: "/api/v1/agent/info",
  access: "download",
  tag: "downloads",
  summary: "List the agents to download",
  responses: { 200: { description: "The available agents.", schema: agentInfoSchema } },
  errors: UNAVAILABLE,
});

const POSTED = {
  method: "POST",
  textBody:
    "The enrolment token, for clients that can set headers only on their command line, where other users can see them.",
} as const;

export const downloadsApi = {
  binary,
  info,
  binaryByPost: contract({
    ...binary,
    ...POSTED,
    summary: "Download an agent, with the token in the body",
  }),
  infoByPost: contract({
    ...info,
    ...POSTED,
    summary: "List the agents to download, with the token in the body",
  }),
  installScript: contract({
    method: "GET",
    path: "/install.sh",
    access: "open",
    tag: "downloads",
    summary: "Get the installer",
    description:
      "A POSIX shell script that downloads the agent for the machine it runs on, from the address that the script itself was requested at. It contains no secret.",
    responses: { 200: { description: "The script.", type: "text/x-shellscript" } },
  }),
};
