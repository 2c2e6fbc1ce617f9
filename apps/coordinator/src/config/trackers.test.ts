import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestAuthority } from "@fleet/daemon/testing";
import type { ConfigError } from "@fleet/daemon";
import { parseConfig } from "./config.ts";
import { tempDir } from "../testing.ts";

const URL_HILL = "http://hill:8080/api/detection";

function problemsOf(trackers: unknown): readonly string[] {
  try {
    parseConfig("coordinator.yaml", { trackers });
  } catch (error) {
    return (error as ConfigError).problems;
  }
  return [];
}

describe("trackers in the configuration (T2, T7)", () => {
  test("default to the node of their own name, and to two requests a second", () => {
    const config = parseConfig("c", {
      trackers: [
        { name: "radar3", mode: "tcp" },
        { name: "mast", mode: "tcp", node_id: "ret7" },
        { name: "hill", mode: "http", detection_url: URL_HILL },
        { name: "dale", mode: "http", detection_url: "https://dale/api?key=k", interval: "50ms" },
      ],
    });
    expect(config.trackers).toEqual([
      { name: "radar3", mode: "tcp", node_id: "radar3" },
      { name: "mast", mode: "tcp", node_id: "ret7" },
      {
        name: "hill",
        mode: "http",
        node_id: "hill",
        detection_url: { href: URL_HILL, shown: URL_HILL, authorization: undefined },
        interval: 500,
        ca: undefined,
      },
      {
        name: "dale",
        mode: "http",
        node_id: "dale",
        detection_url: {
          href: "https://dale/api?key=k",
          shown: "https://dale/api",
          authorization: undefined,
        },
        interval: 50,
        ca: undefined,
      },
    ] as never);
  });

  test("keep user and password out of the URL that is requested and the one that is shown", () => {
    const { trackers } = parseConfig("c", {
      trackers: [{ name: "hill", mode: "http", detection_url: "https://me:p%40ss@hill/d#there" }],
    });
    expect(trackers).toMatchObject([
      {
        detection_url: {
          href: "https://hill/d",
          shown: "https://hill/d",
          authorization: `Basic ${btoa("me:p@ss")}`,
        },
      },
    ]);
  });

  test.each([["hill:8080/api"], ["ftp://hill/d"], ["http://"], [""], ["http://a:%zz@hill/secret"]])(
    "reject the URL %p without repeating it in the error",
    (url) => {
      const problems = problemsOf([{ name: "hill", mode: "http", detection_url: url }]);
      expect(problems).toEqual([
        "trackers.0.detection_url: is not a URL like http://hill:8080/api/detection",
      ]);
    },
  );

  test("may name a CA file, which is read with the config", () => {
    using dir = tempDir();
    const [good, bad] = [join(dir.path, "ca.pem"), join(dir.path, "bad.pem")];
    const { cert } = new TestAuthority();
    writeFileSync(good, cert);
    writeFileSync(bad, "no certificate");
    const entry = (file: string): unknown => [
      { name: "hill", mode: "http", detection_url: "https://hill/d", ca_file: file },
    ];
    expect(parseConfig("c", { trackers: entry(good) }).trackers).toMatchObject([{ ca: cert }]);
    expect(problemsOf(entry(bad))).toEqual([
      `trackers.0.ca_file: ${bad} holds no certificate in PEM`,
    ]);
    expect(problemsOf(entry("/none"))).toEqual(["trackers.0.ca_file: /none can't be read: ENOENT"]);
  });

  test("have unique names and nodes, so that no stream has two sources", () => {
    const http = { mode: "http", detection_url: URL_HILL };
    expect(
      problemsOf([
        { name: "a", mode: "tcp" },
        { name: "b", ...http },
        { name: "a", ...http },
        { name: "c", mode: "tcp", node_id: "b" },
        { name: "a", mode: "tcp", node_id: "z" },
      ]),
    ).toEqual([
      `trackers.2.name: "a" is already the name of trackers.0`,
      `trackers.4.name: "a" is already the name of trackers.0`,
      `trackers.3.node_id: "b" is already the node of trackers.1`,
    ]);
  });
});
