/** Prometheus metrics. The hot path keeps plain numbers; these read them when they are asked. (H4) */
import { nodeStateSchema, type SensorCounters, type StreamId } from "@fleet/protocol";
import { collectDefaultMetrics, Counter, Gauge, Registry as PromRegistry } from "prom-client";
import type { Auth } from "../auth/auth.ts";
import type { Counts } from "@fleet/daemon";
import type { Registry } from "../registry/registry.ts";
import type { Trackers } from "../trackers/create-trackers.ts";
import type { TrackerManager } from "../trackers/manager.ts";

/** What is measured. */
export interface MetricsSources {
  readonly auth: Auth;
  readonly registry: Registry;
  readonly trackers: Pick<Trackers, "manager" | "trackLog">;
  readonly uplinks: {
    /** Lines and connections refused, by reason. */
    readonly refused: Counts;
    /** Outcomes of fetches, by stream. */
    readonly fetchers: { outcomes(): readonly (readonly [StreamId, Counts])[] };
    readonly server: { readonly connections: number };
  };
  /** Open event streams of agents. */
  readonly streams: () => number;
  /** Agents that were told to register later. */
  readonly deferred: () => number;
  /** Whether the database takes writes. */
  readonly isWritable: () => boolean;
  /** Answers to downloads of agents, by status. */
  readonly downloads: Counts;
}

/** The coordinator's metrics in the Prometheus text format. */
export class Metrics {
  readonly #prom = new PromRegistry();

  constructor(sources: MetricsSources) {
    collectDefaultMetrics({ register: this.#prom });
    this.#nodes(sources.registry);
    this.#sensors(sources.registry);
    this.#trackers(sources.trackers.manager);
    this.#counter("fleet_fetches_total", "Frames asked for", ["stream", "outcome"], (c) => {
      for (const [stream, outcomes] of sources.uplinks.fetchers.outcomes()) {
        for (const [outcome, n] of outcomes.entries()) c.inc({ stream, outcome }, n);
      }
    });
    this.#counter("fleet_wrong_tokens_total", "Tokens that opened nothing", ["where"], (c) => {
      for (const [where, n] of sources.auth.refused.entries()) c.inc({ where }, n);
    });
    this.#counter("fleet_audit_entries_lost_total", "Audit entries not written", [], (c) =>
      c.inc(sources.auth.audit.lost),
    );
    this.#gauge("fleet_frame_connections", "Open connections on the frame port", (g) =>
      g.set(sources.uplinks.server.connections),
    );
    this.#gauge("fleet_agent_streams", "Open event streams of agents", (g) =>
      g.set(sources.streams()),
    );
    this.#counter("fleet_registers_deferred_total", "Agents told to register later", [], (c) =>
      c.inc(sources.deferred()),
    );
    this.#gauge("fleet_database_writable", "1, or 0 while the database takes no writes", (g) =>
      g.set(sources.isWritable() ? 1 : 0),
    );
    this.#counter("fleet_lines_refused_total", "Lines and connections refused", ["reason"], (c) => {
      for (const [reason, n] of sources.uplinks.refused.entries()) c.inc({ reason }, n);
    });
    const help = "Requests and sessions of instances that may not speak for their nodes";
    this.#counter("fleet_instances_refused_total", help, ["reason"], (c) => {
      for (const [reason, n] of sources.registry.refused.entries()) c.inc({ reason }, n);
    });
    this.#counter("fleet_agent_downloads_total", "Agents asked for", ["status"], (c) => {
      for (const [status, n] of sources.downloads.entries()) c.inc({ status }, n);
    });
    this.#counter("fleet_track_events_lost_total", "Events not written to files", [], (c) =>
      c.inc(sources.trackers.trackLog.lost),
    );
  }

  get contentType(): string {
    return this.#prom.contentType;
  }

  render(): Promise<string> {
    return this.#prom.metrics();
  }

  #nodes(registry: Registry): void {
    this.#gauge(
      "fleet_nodes",
      "Known nodes by state",
      (g) => {
        for (const state of nodeStateSchema.options) g.set({ state }, 0);
        for (const node of registry.list()) g.inc({ state: registry.stateOf(node) });
      },
      ["state"],
    );
  }

  /** As each agent's last heartbeat has them: produced = acked + spooled + Σ dropped. (A16) */
  #sensors(registry: Registry): void {
    const each = function* (): Generator<readonly [string, SensorCounters]> {
      for (const { id, counters } of registry.list()) {
        for (const [sensor, counts] of Object.entries(counters))
          if (counts !== undefined) yield [`${id}.${sensor}`, counts];
      }
    };
    const total = (name: "produced" | "acked", help: string): void =>
      this.#counter(`fleet_sensor_frames_${name}_total`, help, ["stream"], (c) => {
        for (const [stream, counts] of each()) c.inc({ stream }, counts[name]);
      });
    total("produced", "Frames agents have read from their sensors");
    total("acked", "Frames agents know to be acknowledged");
    this.#gauge(
      "fleet_sensor_frames_spooled",
      "Frames that wait in agents",
      (g) => {
        for (const [stream, { spooled }] of each()) g.set({ stream }, spooled);
      },
      ["stream"],
    );
    this.#counter(
      "fleet_sensor_frames_dropped_total",
      "Frames agents have dropped",
      ["stream", "reason"],
      (c) => {
        for (const [stream, { dropped }] of each())
          for (const [reason, n] of Object.entries(dropped)) c.inc({ stream, reason }, n);
      },
    );
  }

  #trackers(manager: TrackerManager): void {
    this.#counter("fleet_frames_accepted_total", "Frames taken by trackers", ["stream"], (c) => {
      for (const t of manager.list()) c.inc({ stream: t.streamId }, t.queue.framesAccepted);
    });
    this.#counter("fleet_frames_dropped_total", "Frames dropped", ["stream", "reason"], (c) => {
      for (const t of manager.list()) {
        for (const [reason, n] of Object.entries(t.queue.dropped))
          c.inc({ stream: t.streamId, reason }, n);
      }
    });
    this.#counter(
      "fleet_frames_redelivered_total",
      "Frames given to a later run",
      ["stream"],
      (c) => {
        for (const t of manager.list()) c.inc({ stream: t.streamId }, t.queue.framesRedelivered);
      },
    );
    this.#counter("fleet_frames_abandoned_total", "Frames runs died of", ["stream"], (c) => {
      for (const t of manager.list()) c.inc({ stream: t.streamId }, t.queue.framesAbandoned);
    });
    this.#counter("fleet_track_events_total", "Track events read", ["stream"], (c) => {
      for (const t of manager.list()) c.inc({ stream: t.streamId }, t.tracks.events);
    });
    this.#counter("fleet_track_events_repeated_total", "Events said again", ["stream"], (c) => {
      for (const t of manager.list()) c.inc({ stream: t.streamId }, t.events.repeatedEvents);
    });
    this.#counter("fleet_tracker_lines_bad_total", "Lines that were no event", ["stream"], (c) => {
      for (const t of manager.list()) c.inc({ stream: t.streamId }, t.events.badLines);
    });
    this.#counter("fleet_streams_refused_total", "Streams without a tracker", ["reason"], (c) => {
      for (const [reason, n] of Object.entries(manager.refused)) c.inc({ reason }, n);
    });
    this.#gauge(
      "fleet_trackers",
      "Trackers by state",
      (g) => {
        for (const t of manager.list()) g.inc({ state: t.state });
      },
      ["state"],
    );
  }

  #gauge(
    name: string,
    help: string,
    read: (gauge: Gauge) => void,
    labelNames: readonly string[] = [],
  ): void {
    const metric = new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [],
      collect() {
        this.reset();
        read(this);
      },
    });
    this.#prom.registerMetric(metric);
  }

  /** The source's number is the whole count, so each reading starts again from nothing. */
  #counter(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: (counter: Counter) => void,
  ): void {
    const metric = new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [],
      collect() {
        this.reset();
        read(this);
      },
    });
    this.#prom.registerMetric(metric);
  }
}
