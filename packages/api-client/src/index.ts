/** @fleet/api-client: the typed client of the coordinator's HTTP API, for agents, command lines, demo and tests. */
export { ApiClient, type ApiClientOptions, type CallOptions } from "./api-client.ts";
export { ApiError } from "./api-error.ts";
export type { Reply } from "./reply.ts";
