/** `fleet-coordinator token …`: makes, lists and ends tokens, of a running coordinator or of a data directory at rest. (H2, H5) */
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
  readonly nodes: readonly string[];
  readonly groups: readonly string[];
  readonly expires?: number;
}

/** Adds the commands. */
export function addTokenCommands(root: Command): void {
  const token = root.command("token").description("tokens for agents, plain nodes and people");
  const command = (name: string, description: string): Command =>
    token
      .command(name)
      .description(description)
      .addOption(
        new Option("--url <url>", "the coordinator; its admin's token is FLEET_OPERATOR_TOKEN")
          .env("FLEET_COORDINATOR_URL")
          .default(DEFAULT_URL),
      )
      .option("--ca-file <file>", "certificates that the coordinator's is signed with")
      .option("--data-dir <dir>", "work on this data directory; no coordinator may run there");

  command("create", "make a token and print it; it is not shown again")
    .argument("<name>", "what it is called from now on")
    .addOption(
      new Option("--kind <kind>", "what it is for")
        .choices(sharedTokenKindSchema.options)
        .makeOptionMandatory(),
    )
    .addOption(new Option("--role <role>", "what an operator may do").choices(roleSchema.options))
    .option("--nodes <pattern...>", "nodes it is for; * and ? stand for any characters and one", [])
    .option("--groups <group...>", "groups it is for", [])
    .option("--expires <duration>", "how long it is good, such as 12h or 90d", expiry)
    .action(create);
  command("list", "list tokens, never what is secret of them")
    .option("--json", "as the API answers")
    .action(list);
  command("revoke", "end a token at once, and what came in with it")
    .argument("<token>", "its name or id")
    .action(revoke);
  command(
    "rotate-key",
    "sign agents' credentials with a new key; those of the last one stay good",
  ).action(async (flags: WhereFlags) => (await deskOf(flags)).rotateKey());
}

async function create(name: string, flags: CreateFlags): Promise<void> {
  const { kind, role, nodes, groups, expires } = flags;
  const admin = await deskOf(flags);
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
  const tokens = await (await deskOf(flags)).list();
  const text = flags.json ? JSON.stringify({ tokens }, undefined, 2) : table(tokens.map(rowOf));
  process.stdout.write(`${text}\n`);
}

async function revoke(nameOrId: string, flags: WhereFlags): Promise<void> {
  const admin = await deskOf(flags);
  const { TokenAdminError } = await import("./token-admin.ts");
  const known = (await admin.list()).find(({ id, name }) => id === nameOrId || name === nameOrId);
  if (known === undefined) throw new TokenAdminError("there is no token of that name or id");
  await admin.revoke(known.id);
  process.stderr.write(`${known.name} is revoked\n`);
}

async function deskOf({ url, caFile, dataDir }: WhereFlags): Promise<TokenAdmin> {
  const { DatabaseTokenAdmin, ApiTokenAdmin } = await import("./token-admin.ts");
  if (dataDir !== undefined) return new DatabaseTokenAdmin(dataDir);
  const { readSecret } = await import("../config/config.ts");
  const { ConfigError } = await import("../config/file.ts");
  const token = readSecret(process.env, "FLEET_OPERATOR_TOKEN");
  if (token === undefined)
    throw new ConfigError("FLEET_OPERATOR_TOKEN", [
      "is not set (nor FLEET_OPERATOR_TOKEN_FILE); --data-dir does without where no coordinator runs",
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
