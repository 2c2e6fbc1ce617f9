/**
 * `fleet-coordinator token …`: creates, lists and revokes tokens, through a running coordinator or in its data directory.
 * (H2, H5)
 */
import { parseDurationMs } from "@fleet/daemon";
import {
  type Role,
  roleSchema,
  type SharedTokenKind,
  sharedTokenKindSchema,
  type TokenView,
} from "@fleet/protocol";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { TokenAdmin } from "./token-admin.ts";

const DEFAULT_URL = "http://127.0.0.1:7700";

interface WhereFlags {
  readonly url: string;
  readonly caFile?: string;
  readonly dataDir?: string;
}

interface CreateFlags extends WhereFlags {
  readonly kind: SharedTokenKind;
  readonly role?: Role;
  readonly nodes?: readonly string[];
  readonly groups?: readonly string[];
  readonly expires?: number;
}

/** Adds `token` and its sub-commands to `root`. */
export function addTokenCommands(root: Command): void {
  const token = root
    .command("token")
    .description("create, list and revoke tokens for agents, plain nodes and operators");
  const command = (name: string, description: string): Command =>
    token
      .command(name)
      .description(description)
      .addOption(
        new Option(
          "--url <url>",
          "the coordinator; FLEET_OPERATOR_TOKEN must hold an admin's token",
        )
          .env("FLEET_COORDINATOR_URL")
          .default(DEFAULT_URL),
      )
      .option("--ca-file <file>", "PEM file of the CA that signed the coordinator's certificate")
      .option(
        "--data-dir <dir>",
        "use this data directory instead of --url; its coordinator must be stopped",
      );

  command("create", "create a token and print it; it can't be shown again")
    .argument("<name>", "its name in lists, logs and the audit log")
    .addOption(
      new Option("--kind <kind>", "who it is for: agents, plain nodes or operators")
        .choices(sharedTokenKindSchema.options)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--role <role>", "what an operator may do; required with --kind operator").choices(
        roleSchema.options,
      ),
    )
    .option("--nodes <pattern...>", "ids of the nodes it is for, with * and ? (default: any)")
    .option("--groups <group...>", "groups it is for (default: any)")
    .option(
      "--expires <duration>",
      "how long it is valid, such as 12h or 90d (default: forever)",
      expiry,
    )
    .action(create);
  command("list", "list tokens, without their secrets")
    .option("--json", "print the API's JSON response")
    .action(list);
  command("revoke", "end a token at once, and close the connections made with it")
    .argument("<token>", "its name or id")
    .action(revoke);
  command(
    "rotate-key",
    "sign agents' credentials with a new key; the last key's credentials stay valid",
  ).action(async (flags: WhereFlags) => (await adminOf(flags)).rotateKey());
}

async function create(name: string, flags: CreateFlags): Promise<void> {
  const { kind, role, nodes = [], groups = [], expires } = flags;
  const admin = await adminOf(flags);
  const { token, secret } = await admin.create({
    name,
    kind,
    ...(role === undefined ? {} : { role }),
    nodes: [...nodes],
    groups: [...groups],
    ...(expires === undefined ? {} : { expires_in_ms: expires }),
  });
  process.stderr.write(`${rowOf(token).join("  ")}\n`);
  process.stdout.write(`${secret}\n`);
}

async function list(flags: WhereFlags & { readonly json?: true }): Promise<void> {
  const tokens = await (await adminOf(flags)).list();
  const text = flags.json ? JSON.stringify({ tokens }, undefined, 2) : table(tokens.map(rowOf));
  process.stdout.write(`${text}\n`);
}

async function revoke(nameOrId: string, flags: WhereFlags): Promise<void> {
  const admin = await adminOf(flags);
  const { TokenAdminError } = await import("./token-admin.ts");
  const known = (await admin.list()).find(({ id, name }) => id === nameOrId || name === nameOrId);
  if (known === undefined)
    throw new TokenAdminError(
      `no token is named ${nameOrId} or has that id; list them with token list`,
    );
  await admin.revoke(known.id);
  process.stderr.write(`${known.name} revoked\n`);
}

async function adminOf({ url, caFile, dataDir }: WhereFlags): Promise<TokenAdmin> {
  const { DatabaseTokenAdmin, ApiTokenAdmin } = await import("./token-admin.ts");
  if (dataDir !== undefined) return new DatabaseTokenAdmin(dataDir);
  const { readSecret } = await import("../config/config.ts");
  const { ConfigError } = await import("@fleet/daemon/config-error");
  const token = readSecret(process.env, "FLEET_OPERATOR_TOKEN");
  if (token === undefined)
    throw new ConfigError("FLEET_OPERATOR_TOKEN", [
      "is not set, nor is FLEET_OPERATOR_TOKEN_FILE; or use --data-dir while the coordinator is stopped",
    ]);
  return new ApiTokenAdmin({ url, token, caFile });
}

const HEAD = ["NAME", "KIND", "ROLE", "STATE", "NODES", "GROUPS", "EXPIRES", "LAST USED", "ID"];

function rowOf(token: TokenView): readonly string[] {
  const { name, kind, role, state, nodes, groups, id } = token;
  const limits = [nodes, groups].map((some) => (some.length === 0 ? "any" : some.join(",")));
  const times = [token.expires_at, token.last_used_at].map((ms) =>
    ms === null ? "never" : new Date(ms).toISOString().slice(0, 16),
  );
  return [name, kind, role ?? "-", state, ...limits, ...times, id];
}

function table(rows: readonly (readonly string[])[]): string {
  const all = [HEAD, ...rows];
  const widths = HEAD.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  return all
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function expiry(text: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms > 0) return ms;
  throw new InvalidArgumentError("It must be a duration such as 12h or 90d.");
}
