/**
 * The layouts of version managers: shims on PATH, versions elsewhere, and files that select a version. The shims have the text
 * that each tool writes; the programs they start fail, because a version command has no HOME to find them.
 */
import { cpSync, readFileSync } from "node:fs";
import type { Root } from "../roots/root.ts";

/** The directories of the version managers. */
export const HOME = "/home/dev";
export const PYENV = `${HOME}/.pyenv`;
export const RBENV = `${HOME}/.rbenv`;
export const VOLTA = `${HOME}/.volta`;
export const ASDF = `${HOME}/.asdf`;
export const MISE = `${HOME}/.local/share/mise`;
export const NVM = `${HOME}/.nvm`;
export const SDKMAN = `${HOME}/.sdkman`;

/** The variables that their installers write to a profile. */
export const SHIM_PATH = [
  `${PYENV}/shims`,
  `${RBENV}/shims`,
  `${VOLTA}/bin`,
  `${ASDF}/shims`,
  `${MISE}/shims`,
  `${SDKMAN}/candidates/java/current/bin`,
  "/usr/local/bin:/usr/bin:/bin",
].join(":");

/** Copies a program of the root to make it an installation of a version manager. */
export function install(root: Root, program: string, ...names: readonly string[]): void {
  const [first = "", ...links] = names;
  root.file(first, readFileSync(root.at(program)), 0o755);
  for (const link of links) root.link(link, first.slice(first.lastIndexOf("/") + 1));
}

/** pyenv's shims; `version` is the file of `pyenv global`, one version per line. */
export function addPyenv(root: Root, version: string): void {
  addRbenvLike(root, PYENV, "pyenv", ["python", "python3", "pypy3"], "");
  root.file(`${PYENV}/version`, version);
}

/** rbenv's shims, which first examine the script they are given. */
export function addRbenv(root: Root, version: string): void {
  const look = `if [[ "$program" =~ ^ruby([0-9][.0-9]+)?$ ]]; then
  for arg; do
    case "$arg" in
    -e* | -- ) break ;;
    */* )
      if [ -f "$arg" ]; then
        export RBENV_DIR="\${arg%/*}"
        break
      fi
      ;;
    esac
  done
fi
`;
  addRbenvLike(root, RBENV, "rbenv", ["ruby", "gem"], look);
  root.file(`${RBENV}/version`, version);
}

function addRbenvLike(
  root: Root,
  home: string,
  tool: string,
  names: readonly string[],
  look: string,
): void {
  const prefix = tool.toUpperCase();
  const shim = `#!/usr/bin/env bash
set -e
[ -n "$${prefix}_DEBUG" ] && set -x

program="\${0##*/}"
${look}
export ${prefix}_ROOT="${home}"
exec "${home}/libexec/${tool}" exec "$program" "$@"
`;
  for (const name of names) root.file(`${home}/shims/${name}`, shim, 0o755);
  addManager(root, `${home}/libexec/${tool}`);
}

/** Volta: every shim is a link to one program, which acts by its name. */
export function addVolta(root: Root, runtime: string): void {
  addBinaryManager(root, `${VOLTA}/bin/volta-shim`);
  for (const name of ["node", "npm", "npx"]) root.link(`${VOLTA}/bin/${name}`, "volta-shim");
  const platform = { node: { runtime, npm: null }, pnpm: null, yarn: null };
  root.file(`${VOLTA}/tools/user/platform.json`, JSON.stringify(platform, null, 2));
}

/** A shim of asdf for one command, in the form before 0.16 or since. */
export function addAsdfShim(
  root: Root,
  command: string,
  plugin: string,
  versions: readonly string[],
  form: "bash" | "go",
): void {
  const lines = versions.map((version) => `# asdf-plugin: ${plugin} ${version}\n`).join("");
  const exec =
    form === "go"
      ? `exec asdf exec "${command}" "$@"`
      : `exec ${ASDF}/bin/asdf exec "${command}" "$@" # asdf_allow: ' asdf '\n`;
  root.file(`${ASDF}/shims/${command}`, `#!/usr/bin/env bash\n${lines}${exec}`, 0o755);
  addManager(root, `${ASDF}/bin/asdf`);
}

/** mise: every shim is a link to mise itself. */
export function addMise(root: Root, tools: Readonly<Record<string, string>>): void {
  addBinaryManager(root, "/usr/local/bin/mise");
  for (const name of Object.keys(tools)) root.link(`${MISE}/shims/${name}`, "/usr/local/bin/mise");
  const lines = Object.entries(tools).map(([name, version]) => `${name} = "${version}"\n`);
  root.file(`${HOME}/.config/mise/config.toml`, `[tools]\n${lines.join("")}`);
}

/** A JDK of another vendor: this root's Java in SDKMAN's layout, with a compiler and its own `release` file. */
export function addSdkmanJava(root: Root, java: string, name: string): string {
  const home = `${SDKMAN}/candidates/java/${name}`;
  const from = java.replace(/\/bin\/java$/, "");
  root.directory(`${SDKMAN}/candidates/java`);
  cpSync(root.at(from), root.at(home), { recursive: true, verbatimSymlinks: true });
  root.file(`${home}/bin/javac`, readFileSync(root.at(`${from}/bin/java`)), 0o755);
  const release = readFileSync(root.at(`${from}/release`), "utf8");
  root.file(`${home}/release`, release.replace(/IMPLEMENTOR=.*/, 'IMPLEMENTOR="Eclipse Adoptium"'));
  root.link(`${SDKMAN}/candidates/java/current`, name);
  return home;
}

/** The program that a shim starts; it never answers. */
function addManager(root: Root, path: string): void {
  root.file(path, '#!/bin/sh\necho "${0##*/}: HOME not set" >&2\nexit 126\n', 0o755);
}

/** The same as a binary: busybox, which has no applet with such a name. */
function addBinaryManager(root: Root, path: string): void {
  root.file(path, readFileSync(root.at("/usr/bin/busybox")), 0o755);
}
