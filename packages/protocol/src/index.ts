export * from "./agent-api.ts";
export * from "./agent-info.ts";
export * from "./frame.ts";
export * from "./ids.ts";
export * from "./lines.ts";
export * from "./plain-node.ts";
export * from "./session.ts";
export * from "./whoami.ts";
