/** What the stored identity says, read without touching it: the agent itself would move a damaged one aside. (A9, A14) */
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { NodeId } from "@fleet/protocol";
import { IDENTITY_FILE, parseIdentity } from "../state/identity.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** The check, and what the agent would start with. */
export interface IdentityFound {
  readonly checks: readonly Check[];
  readonly nodeId: NodeId | undefined;
  readonly refreshToken: string | undefined;
}

const OTHERS = 0o077;

/** `stateDir` is where the agent would look; `name` the node's name when it was given one. Never rejects. */
export async function checkIdentity(
  stateDir: string,
  name: NodeId | undefined,
): Promise<IdentityFound> {
  const path = resolve(stateDir, IDENTITY_FILE);
  const details = { subject: path };
  const without = (...checks: Check[]): IdentityFound => ({
    checks,
    nodeId: name,
    refreshToken: undefined,
  });
  let text: string;
  let mode: number;
  try {
    const stats = await stat(path);
    if (!stats.isFile())
      return without(fail("identity", "is not a file", `Remove ${path}`, details));
    ({ mode } = stats);
    text = await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR")
      return without(
        ok(
          "identity",
          name === undefined ? "none stored yet" : `none stored yet; this is node ${name}`,
          details,
        ),
      );
    return without(await unreadable(path, code ?? String(error)));
  }
  const stored = parse(text);
  if (stored === undefined)
    return without(
      warn(
        "identity",
        "can't be understood; the agent will move it aside and enrol anew",
        "Put a copy of it back if there is one",
        details,
      ),
    );
  const open = (mode & OTHERS) === 0 ? [] : [openToOthers(path, mode)];
  if (name !== undefined && name !== stored.node_id) {
    const message = `is of node ${stored.node_id}, but this one is to be ${name}; its token is not used`;
    const remedy = "Correct the name, or give each node a state directory of its own";
    return without(warn("identity", message, remedy, details), ...open);
  }
  const { node_id: nodeId, refresh_token: refreshToken } = stored;
  const has = refreshToken === undefined ? "without a refresh token yet" : "with a refresh token";
  return {
    checks: [ok("identity", `node ${nodeId}, ${has}`, details), ...open],
    nodeId,
    refreshToken,
  };
}

function parse(text: string): ReturnType<typeof parseIdentity> | undefined {
  try {
    return parseIdentity(text);
  } catch {
    return undefined;
  }
}

async function unreadable(path: string, code: string): Promise<Check> {
  const owner = await stat(path).catch(() => undefined);
  const whose = owner === undefined ? "" : `; it belongs to uid ${owner.uid}`;
  const uid = process.getuid?.() ?? -1;
  return fail(
    "identity",
    `can't be read by uid ${uid}: ${code}${whose}`,
    `chown ${uid} ${path}, or run as its owner`,
    { subject: path },
  );
}

function openToOthers(path: string, mode: number): Check {
  return warn(
    "identity",
    `other users may read or write it (mode 0${(mode & 0o7777).toString(8)}): it holds this node's token`,
    `chmod 600 ${path}`,
    { subject: path },
  );
}
