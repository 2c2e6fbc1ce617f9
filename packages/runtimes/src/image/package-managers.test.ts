import { expect, test } from "bun:test";
import { FileObserver } from "../inspect/file-observer.ts";
import { findVersion, upstreamVersion } from "./package-databases.ts";
import { findPackageManagers } from "./package-managers.ts";
import { makeTestImage, type TestImage } from "../test-image.ts";

function managers(image: TestImage): Record<string, string | null> {
  const dirs = [`${image.dir}/shims`, `${image.dir}/bin`];
  const found = findPackageManagers(dirs, new FileObserver({}, 0));
  return Object.fromEntries(found.map(({ name, version }) => [name, version]));
}

test("A7: a package manager's version is read from its files, and it is not run", () => {
  using image = makeTestImage();
  for (const name of ["pip3", "gem", "bundle", "conda", "uv", "composer", "mix", "mvn"])
    image.script(`bin/${name}`, "exit 99; const VERSION = '2.7.1';");
  image.file("lib/python3.11/site-packages/pip-23.0.1.dist-info/METADATA", "");
  image.file("lib/python3.11/site-packages/pip_tools-7.0.dist-info/METADATA", "");
  image.file("lib/ruby/3.1.0/rubygems.rb", 'module Gem\n  VERSION = "3.3.15"\nend\n');
  image.file("lib/ruby/gems/3.1.0/specifications/default/bundler-2.3.15.gemspec", "");
  image.file("conda-meta/conda-24.1.2-py311h06a4308_0.json", "{}");
  image.file("VERSION", "1.18.3\n");
  image.link("lib/maven-core-3.x.jar", "maven-core-3.8.7.jar");
  image.file("lib/maven-core-3.8.7.jar", "");
  for (const [name, version] of [
    ["npm", "10.2.4"],
    ["pnpm", "9.1.0"],
  ]) {
    image.script(`lib/node_modules/${name}/bin/${name}-cli.js`, "");
    image.link(`bin/${name}`, `../lib/node_modules/${name}/bin/${name}-cli.js`);
    image.file(`lib/node_modules/${name}/package.json`, JSON.stringify({ name, version }));
  }
  expect(managers(image)).toEqual({
    pip: "23.0.1",
    uv: null,
    conda: "24.1.2",
    npm: "10.2.4",
    pnpm: "9.1.0",
    gem: "3.3.15",
    bundler: "2.3.15",
    composer: "2.7.1",
    mix: "1.18.3",
    maven: "3.8.7",
  });
});

test("A7: a package manager's program that belongs to another package has no version", () => {
  using image = makeTestImage();
  image.script("lib/node_modules/corepack/dist/yarn.js", "");
  image.link("bin/yarn", "../lib/node_modules/corepack/dist/yarn.js");
  image.file("lib/node_modules/corepack/package.json", '{"name":"corepack","version":"0.20.0"}');
  image.file("bin/npm", "not executable");
  image.directory("bin/apk");
  expect(managers(image)).toEqual({ yarn: null });
});

const DPKG = `Package: apt-utils
Status: install ok installed
Version: 9.9.9

Package: apt
Status: install ok installed
Maintainer: x
Version: 2.6.1+deb12u1
Description: x

Package: npm
Status: deinstall ok config-files
Version: 9.2.0~ds1-1
`;

test("A7: a package database yields the upstream versions of installed packages only", () => {
  const dpkg = { path: "", namePrefix: "Package: ", versionPrefix: "Version: " };
  expect(findVersion(DPKG, "apt", dpkg)).toBe("2.6.1");
  expect(findVersion(DPKG, "apt-utils", dpkg)).toBe("9.9.9");
  expect(findVersion(DPKG, "npm", dpkg)).toBeNull();
  expect(findVersion(DPKG, "pip", dpkg)).toBeNull();
  const apk = "C:Q1x\nP:musl\nV:1.2.4_git20230717-r4\n\nP:apk-tools\nV:2.14.0-r5\n";
  expect(findVersion(apk, "musl", { path: "", namePrefix: "P:", versionPrefix: "V:" })).toBe(
    "1.2.4",
  );
  expect(findVersion(apk, "apk-tools", { path: "", namePrefix: "P:", versionPrefix: "V:" })).toBe(
    "2.14.0",
  );
});

test.each([
  ["1:2.39.5-0+deb12u2", "2.39.5"],
  ["9.2.0~ds1-1", "9.2.0"],
  ["1.18.3.dfsg-1.1", "1.18.3"],
  ["3.8.0+dfsg1-1", "3.8.0"],
  ["2.14.0-r5", "2.14.0"],
  ["2.6.1", "2.6.1"],
])("A7: %s is upstream version %s", (version, upstream) => {
  expect(upstreamVersion(version)).toBe(upstream);
});
