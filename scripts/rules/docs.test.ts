/** Every path and every relative link that the README and docs/ name exists, anchors included. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { root } from "../lib/root.ts";
import { APP_LAYERS } from "./imports.ts";

const PAGES = [
  "README.md",
  ...new Bun.Glob("docs/**/*.md").scanSync({ cwd: root, onlyFiles: true }),
].toSorted();
const PAGES_MIN = 30;
/** A link or an image in Markdown: its target, and the anchor after `#`. */
const LINK = /\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g;
/** A path of the repository; a trailing `.` ends the sentence, `*` makes it a pattern. */
const PATH = /(?<![\w/.-])(?:apps|packages|scripts|docker|docs)\/[\w./*-]*[\w*]/g;

/** Files that a user creates, where the pages say so. */
const CREATED = "docker/kubernetes/base/secrets/";

function read(page: string): string {
  return readFileSync(join(root, page), "utf8");
}

/** The anchors of a page's headings, as GitHub derives them. */
function anchorsOf(page: string): ReadonlySet<string> {
  const prose = read(page).replaceAll(/^```.*?^```$/gms, "");
  const headings = [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(/\s/g, "-"),
    ),
  );
}

function brokenLinks(page: string): readonly string[] {
  return [...read(page).matchAll(LINK)].flatMap(([link, target = "", anchor]) => {
    const path = target === "" ? page : normalize(join(dirname(page), target));
    if (!existsSync(join(root, path))) return [`${page}: ${link}: there is no ${path}`];
    if (anchor === undefined || anchorsOf(path).has(anchor)) return [];
    return [`${page}: ${link}: ${path} has no heading #${anchor}`];
  });
}

function missingPaths(page: string): readonly string[] {
  return [...read(page).matchAll(PATH)].flatMap(([path]) => {
    if (path.startsWith(CREATED)) return [];
    const exists = path.includes("*")
      ? [...new Bun.Glob(path).scanSync({ cwd: root, onlyFiles: false })].length > 0
      : existsSync(join(root, path));
    return exists ? [] : [`${page}: there is no ${path}`];
  });
}

describe("the README and docs/", () => {
  test("are read, not passed over", () => {
    expect(PAGES.length).toBeGreaterThanOrEqual(PAGES_MIN);
    expect(PAGES.flatMap((page) => [...read(page).matchAll(LINK)]).length).toBeGreaterThan(100);
  });

  test("link to pages and headings that exist", () => {
    expect(PAGES.flatMap(brokenLinks)).toEqual([]);
  });

  test("name paths that exist", () => {
    expect(PAGES.flatMap(missingPaths)).toEqual([]);
  });

  test("are all in the index by task or linked from a page in it", () => {
    const linked = new Set(
      PAGES.flatMap((page) =>
        [...read(page).matchAll(LINK)].map(([, target = ""]) =>
          normalize(join(dirname(page), target)),
        ),
      ),
    );
    expect(PAGES.filter((page) => page !== "README.md" && !linked.has(page))).toEqual([]);
  });
});

test("docs/architecture.md shows the layers that the imports test enforces", () => {
  const layers = Object.entries(APP_LAYERS).map(([app, modules]) =>
    [app, ...modules.map((layer) => `  ${layer.join(", ")}`)].join("\n"),
  );
  const shown = /^```\n(apps\/.*?)\n```$/ms.exec(
    read("docs/architecture.md").split("\n## Which way imports point\n")[1] ?? "",
  );
  expect(shown?.[1]?.split("\n\n")).toEqual(layers);
});

describe("decisions", () => {
  const decisions = PAGES.filter((page) => /\/decisions\/\d{4}-/.test(page));
  const FORM =
    /^# (\d{4}) (.+)\n\n(\d{4}-\d\d-\d\d)\n\n## Context\n\n.*\n\n## Decision\n\n.*\n\n## Consequences\n\n/s;

  test("have one form: number, date, context, decision, consequences", () => {
    expect(decisions.filter((page) => !FORM.test(read(page)))).toEqual([]);
  });

  test("are in the index, in order, with their date", () => {
    const rows = decisions.map((page) => {
      const file = page.slice("docs/decisions/".length);
      const [, number, , date] = FORM.exec(read(page)) ?? [];
      return [`[${number}](${file})`, date];
    });
    const index = [
      ...read("docs/decisions/README.md").matchAll(/^\| (\[.*\)) \| .* \| (.*) \|$/gm),
    ];
    expect(index.map(([, link, date]) => [link, date])).toEqual(rows);
  });
});
