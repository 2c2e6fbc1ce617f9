/** Checks the stored identity without changing it; the agent itself would move an invalid one aside. (A9, A14) */
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { NodeId } from "@fleet/protocol";
import { IDENTITY_FILE, parseIdentity } from "../state/identity.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** The checks, and the identity with which the agent would start. */
export interface IdentityFound {
  readonly checks: readonly Check[];
  readonly nodeId: NodeId | undefined;
  readonly refreshToken: string | undefined;
}

const OTHERS = 0o077;

/** `stateDir` is the agent's; `name` is the configured name, if any. Never rejects. */
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
          name === undefined ? "none stored yet" : `none stored yet; the node is ${name}`,
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
        "is not valid; the agent will move it aside and enrol again",
        "Restore it from a copy, if there is one",
        details,
      ),
    );
  const open = (mode & OTHERS) === 0 ? [] : [openToOthers(path, mode)];
  if (name !== undefined && name !== stored.node_id) {
    const message = `belongs to node ${stored.node_id}, but the configured name is ${name}; its token is not used`;
    const remedy = "Correct the name, or give each node its own state directory";
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
    `other users may read or write it (mode 0${(mode & 0o7777).toString(8)}), and it contains this node's token`,
    `chmod 600 ${path}`,
    { subject: path },
  );
}
