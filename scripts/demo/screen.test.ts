import { describe, expect, test } from "bun:test";
import { DEMO_NODES } from "./nodes.ts";
import { renderLine, renderScreen } from "./screen.ts";
import { LiveScreen } from "./live-screen.ts";
import { registered, sampleView, stream } from "./testing.ts";

describe("the screen", () => {
  const lines = renderScreen(sampleView(), 120);
  const text = lines.join("\n");

  test("shows each node with its state, version, runtimes and when it was last seen", () => {
    expect(lines[0]).toBe("NODE    STATE  VERSION  LAST SEEN  RUNTIMES");
    expect(lines[1]).toBe("radar1  LIVE   0.1.0      1 s ago  shell, python 3.12.1");
    expect(lines).toHaveLength(5 + 1 + 6 + 1 + 6);
  });

  test("shows each stream with its rate and tracks, and the totals", () => {
    expect(text).toContain(
      "radar4.radar  python  RUNNING       2.0      40       7         6\n" +
        "all                                 8.0     160      28        24",
    );
  });

  test("suggests commands that read the operator token from a file", () => {
    expect(text).toContain('H="Authorization: Bearer $(cat /tmp/fleet-demo-x/operator-token)"');
    expect(text).toContain('curl -H "$H" http://127.0.0.1:7700/api/v1/agents');
    expect(text).toContain("http://127.0.0.1:7700/api/v1/trackers/radar1.radar/tracks");
  });

  test("has no line wider than the terminal", () => {
    const broken = sampleView(() => ({ end: "killed by SIGKILL" }), { problem: "x".repeat(200) });
    for (const view of [sampleView(), broken])
      for (let width = 0; width <= 130; width++)
        for (const line of renderScreen(view, width))
          expect(Bun.stringWidth(line)).toBeLessThanOrEqual(width);
  });

  test("shows the commands uncut in 80 columns", () => {
    expect(renderScreen(sampleView(), 80).slice(-4)).toEqual(lines.slice(-4));
  });

  test("shows why a node is skipped, and that another is still starting", () => {
    const view = sampleView((name) => {
      if (name === "radar4")
        return {
          node: { ...DEMO_NODES[3]!, at: "skipped", reason: "cc is not on this machine's PATH" },
          registered: undefined,
          stream: undefined,
        };
      return name === "radar2" ? { registered: undefined, stream: undefined } : {};
    });
    const shown = renderScreen(view, 120);
    expect(shown[2]).toStartWith("radar2  starting");
    expect(shown[4]).toMatch(/^radar4 {2}skipped +cc is not on this machine's PATH$/);
  });

  test("shows no negative age when a node was seen just after the clock was read", () => {
    const view = sampleView((name) => ({
      registered: registered(name, { last_seen: sampleView().nowMs + 900 }),
    }));
    expect(renderScreen(view, 120)[1]).toContain("  0 s ago  ");
  });
});

test("without a terminal, one line summarises the state", () => {
  const view = sampleView((name) =>
    name === "radar2"
      ? { registered: registered(name, { state: "STALE" }), stream: stream(name, { tracks: 0 }) }
      : {},
  );
  expect(renderLine(view)).toBe(
    " 20 s  ·  3 of 4 nodes LIVE  ·  8.0 frames/s, 160 in total  ·  21 tracks confirmed, 24 live now",
  );
  const ended = sampleView((name) => (name === "radar3" ? { end: "exit code 1" } : {}));
  expect(renderLine(ended)).toEndWith("  ·  The agent of radar3 has ended: exit code 1.");
});

describe("the live screen", () => {
  function screen(isColoured: boolean): { screen: LiveScreen; written: string[] } {
    const written: string[] = [];
    const terminal = { columns: 100, rows: 4, write: (text: string) => written.push(text) };
    return { screen: new LiveScreen(terminal, isColoured), written };
  }

  test("overwrites the previous screen, and draws no more lines than the terminal has", () => {
    const { screen: live, written } = screen(false);
    live.draw(["a", "b", "c", "d", "e"]);
    live.draw(["x"]);
    expect(written).toEqual([
      "\x1b[?1049h\x1b[?25l\x1b[Ha\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\n\x1b[J",
      "\x1b[Hx\x1b[K\r\n\x1b[J",
    ]);
  });

  test("restores cursor and screen once, and writes nothing if it never drew", () => {
    const { screen: live, written } = screen(false);
    live.close();
    expect(written).toEqual([]);
    live.draw([]);
    live.close();
    live.close();
    expect(written.slice(1)).toEqual(["\x1b[?25h\x1b[?1049l"]);
  });

  test("colours states, not titles", () => {
    const { screen: live, written } = screen(true);
    live.draw(["radar1  LIVE   0.1.0", "STREAM  TRACKS  LIVE NOW"]);
    expect(written[0]).toContain("radar1  \x1b[32mLIVE\x1b[0m   0.1.0");
    expect(written[0]).toContain("TRACKS  LIVE NOW");
  });
});
