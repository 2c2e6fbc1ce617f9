/** Which package managers an image has. They are named, never run. (A7) */
import { accessSync, constants } from "node:fs";
import type { PackageManager } from "./image-report.ts";

/** Of systems first, then of languages; where two names mean one manager, the first found stands for it. */
const MANAGERS: readonly { readonly name: string; readonly candidates: readonly string[] }[] = [
  { name: "apt", candidates: ["apt-get", "apt"] },
  { name: "apk", candidates: ["apk"] },
  { name: "dnf", candidates: ["dnf", "dnf5"] },
  { name: "microdnf", candidates: ["microdnf"] },
  { name: "yum", candidates: ["yum"] },
  { name: "zypper", candidates: ["zypper"] },
  { name: "pacman", candidates: ["pacman"] },
  { name: "opkg", candidates: ["opkg"] },
  { name: "xbps", candidates: ["xbps-install"] },
  { name: "nix", candidates: ["nix-env"] },
  { name: "pip", candidates: ["pip3", "pip"] },
  { name: "uv", candidates: ["uv"] },
  { name: "poetry", candidates: ["poetry"] },
  { name: "conda", candidates: ["conda", "mamba", "micromamba"] },
  { name: "npm", candidates: ["npm"] },
  { name: "yarn", candidates: ["yarn", "yarnpkg"] },
  { name: "pnpm", candidates: ["pnpm"] },
  { name: "gem", candidates: ["gem"] },
  { name: "bundler", candidates: ["bundle"] },
  { name: "composer", candidates: ["composer"] },
  { name: "cpan", candidates: ["cpanm", "cpan"] },
  { name: "luarocks", candidates: ["luarocks"] },
  { name: "mix", candidates: ["mix"] },
  { name: "maven", candidates: ["mvn"] },
  { name: "cargo", candidates: ["cargo"] },
];

/** `dirs` is the search path, see `searchPath`. */
export function findPackageManagers(dirs: readonly string[]): PackageManager[] {
  const found: PackageManager[] = [];
  for (const { name, candidates } of MANAGERS) {
    const path = candidates
      .flatMap((candidate) => dirs.map((dir) => `${dir}/${candidate}`))
      .find(mayExecute);
    if (path !== undefined) found.push({ name, path, version: null });
  }
  return found;
}

function mayExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
