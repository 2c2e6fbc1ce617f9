/** What agents ask for, and what machines download. (R1, R6, R7, C1, H8) */
import {
  agentInfoSchema,
  deregisterRequestSchema,
  heartbeatRequestSchema,
  heartbeatResponseSchema,
  nodeIdSchema,
  registerRequestSchema,
  registerResponseSchema,
  registerUrlRequestSchema,
  registerUrlResponseSchema,
} from "@fleet/protocol";
import type { ErrorCode } from "../middleware/errors.ts";
import { binaryQuery } from "../middleware/queries.ts";
import type { Operation } from "./operation.ts";

const params = { id: nodeIdSchema.describe("The agent's own node.") };
const STANDING: readonly ErrorCode[] = ["forbidden", "blocked", "unknown_node", "superseded"];
const NOT_ADMITTED: readonly ErrorCode[] = [
  "forbidden",
  "blocked",
  "reenroll_refused",
  "contested",
  "busy",
  "too_many_nodes",
  "unavailable",
];
const DOWNLOAD_ERRORS: readonly ErrorCode[] = ["no_downloads"];
const SSE = "text/event-stream";

const getBinary: Operation = {
  tag: "downloads",
  summary: "Download an agent",
  description:
    "The `fleet-agent` for a processor. Ranges and `If-None-Match` are honoured. `HEAD` tells the same without the file.",
  query: binaryQuery,
  schemes: ["enrolmentHeader", "operator"],
  answers: {
    200: {
      description: "The file.",
      type: "application/octet-stream",
      headers: {
        ETag: "The sha256 of the file, quoted.",
        "X-Fleet-Agent-Sha256": "The sha256 of the file, hex.",
        "X-Fleet-Agent-Version": "Its version, where the file tells it.",
      },
    },
    206: { description: "The range that was asked for.", type: "application/octet-stream" },
    304: { description: "`If-None-Match` names what is here." },
    416: { description: "The range begins behind the end." },
  },
  errors: [...DOWNLOAD_ERRORS, "unknown_arch", "agent_changing", "too_many_downloads"],
};

const getInfo: Operation = {
  tag: "downloads",
  summary: "List the agents to download",
  schemes: ["enrolmentHeader", "operator"],
  answers: { 200: { description: "What there is.", schema: agentInfoSchema } },
  errors: DOWNLOAD_ERRORS,
};

const POSTED = {
  textBody: "The enrolment token, for clients that could only put a header where `ps` shows it.",
};

/** By method and path. */
export const AGENT_OPERATIONS = {
  "POST /api/v1/agents/register": {
    tag: "agents",
    summary: "Register an agent",
    description:
      "Makes the node known, on disk before the answer, and gives the agent credentials of its own. The same instance keeps its epoch, a new one gets the next and takes the node over.",
    schemes: ["enrolment", "refresh"],
    body: registerRequestSchema,
    answers: {
      200: {
        description: "Registered: the credentials, and what the server wants of the agent.",
        schema: registerResponseSchema,
      },
    },
    errors: [...NOT_ADMITTED, "superseded"],
  },
  "POST /api/nodes/register": {
    tag: "agents",
    summary: "Register an address",
    description:
      "The minimal form, for agents that answer `/health` and speak no more of the protocol. The node is heard when it registers again, when it answers (it is asked at each interval), and by lines with a push token. A new address is a new agent with the next epoch.",
    schemes: ["enrolment"],
    body: registerUrlRequestSchema,
    answers: { 200: { description: "Registered.", schema: registerUrlResponseSchema } },
    errors: NOT_ADMITTED,
  },
  "POST /api/v1/agents/:id/heartbeat": {
    tag: "agents",
    summary: "Check in",
    description: "A ping with counters. It changes nothing else of what is known of the node.",
    params,
    schemes: ["access"],
    body: heartbeatRequestSchema,
    answers: { 200: { description: "Heard.", schema: heartbeatResponseSchema } },
    errors: STANDING,
  },
  "POST /api/v1/agents/:id/deregister": {
    tag: "agents",
    summary: "Say goodbye",
    description: "The node is SHUTDOWN until it registers again.",
    params,
    schemes: ["access"],
    body: deregisterRequestSchema,
    answers: { 204: { description: "On disk." } },
    errors: [...STANDING, "unavailable"],
  },
  "GET /api/v1/agents/:id/events": {
    tag: "agents",
    summary: "Open the agent's event stream",
    description:
      "Server-sent events; a new stream ends the one before. Its end tells the agent at once that the coordinator, or its claim to the node, has gone.",
    params,
    schemes: ["access"],
    answers: { 200: { description: "The stream.", type: SSE } },
    errors: STANDING,
  },
  "GET /api/v1/agent/binary": getBinary,
  "POST /api/v1/agent/binary": {
    ...getBinary,
    ...POSTED,
    summary: "Download an agent, with the token in the body",
  },
  "GET /api/v1/agent/info": getInfo,
  "POST /api/v1/agent/info": {
    ...getInfo,
    ...POSTED,
    summary: "List the agents to download, with the token in the body",
  },
  "GET /install.sh": {
    tag: "downloads",
    summary: "Get the installer",
    description:
      "A POSIX shell script that downloads the agent for the machine it runs on. It asks the address it was asked for at, and holds no secret.",
    answers: { 200: { description: "The script.", type: "text/x-shellscript" } },
  },
} as const satisfies Record<string, Operation>;
