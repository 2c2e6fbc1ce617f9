/** Prometheus metrics. The hot path keeps plain numbers, which are read when the metrics are requested. (H4) */
import { nodeStateSchema, type SensorCounters, type StreamId } from "@fleet/protocol";
import { collectDefaultMetrics, Counter, Gauge, Registry as PromRegistry } from "prom-client";
import type { Auth } from "../auth/auth.ts";
import type { Clock, Counts } from "@fleet/daemon";
import type { Registry } from "../registry/registry.ts";
import type { Trackers } from "../trackers/create-trackers.ts";
import type { Tracker } from "../trackers/tracker.ts";

/** A scrape within this time of the last one gets the same text, so that nobody can keep the coordinator busy with scrapes. */
const FRESH_MS = 1000;
/** Streams listed with the counters of their agents, in the order of node ids; `fleet_metrics_streams_omitted` counts the rest. */
const STREAMS_MAX = 10_000;

/** Where the numbers are read. */
export interface MetricsSources {
  readonly clock: Clock;
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
  /** Registrations refused with Retry-After. */
  readonly deferred: () => number;
  /** Whether the database accepts writes. */
  readonly isWritable: () => boolean;
  /** Responses to downloads of agents, by status. */
  readonly downloads: Counts;
  /** Lookups of names for outgoing connections, by outcome. */
  readonly lookups: Counts;
}

/** The coordinator's metrics in the Prometheus text format. */
export class Metrics {
  readonly #prom = new PromRegistry();
  readonly #clock: Clock;
  #renderedMs = Number.NEGATIVE_INFINITY;
  #rendered: Promise<string> | undefined;

  constructor(sources: MetricsSources) {
    this.#clock = sources.clock;
    collectDefaultMetrics({ register: this.#prom });
    this.#nodes(sources.registry);
    this.#sensors(sources.registry);
    this.#trackers(sources.trackers);
    this.#uplinks(sources.uplinks);
    this.#access(sources);
    this.#gauge("fleet_database_writable", "1, or 0 while the database refuses writes", (g) =>
      g.set(sources.isWritable() ? 1 : 0),
    );
    this.#gauge("fleet_agent_streams", "Open event streams of agents", (g) =>
      g.set(sources.streams()),
    );
    const lookups = "Lookups of host names for outgoing connections, by outcome";
    this.#counter("fleet_name_lookups_total", lookups, ["outcome"], (c) => {
      for (const [outcome, n] of sources.lookups.entries()) c.inc({ outcome }, n);
    });
    const downloads = "Downloads of agents, by status";
    this.#counter("fleet_agent_downloads_total", downloads, ["status"], (c) => {
      for (const [status, n] of sources.downloads.entries()) c.inc({ status }, n);
    });
  }

  get contentType(): string {
    return this.#prom.contentType;
  }

  /** The text, at most FRESH_MS old. */
  render(): Promise<string> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#rendered === undefined || nowMs - this.#renderedMs >= FRESH_MS) {
      this.#renderedMs = nowMs;
      this.#rendered = this.#prom.metrics();
    }
    return this.#rendered;
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

  #access({ auth, registry, deferred }: MetricsSources): void {
    const wrong = "Requests with a wrong token, by where it was presented";
    this.#counter("fleet_wrong_tokens_total", wrong, ["where"], (c) => {
      for (const [where, n] of auth.refused.entries()) c.inc({ where }, n);
    });
    const lost = "Audit entries that could not be written";
    this.#counter("fleet_audit_entries_lost_total", lost, [], (c) => c.inc(auth.audit.lost));
    const refused = "Registrations refused with Retry-After";
    this.#counter("fleet_registers_deferred_total", refused, [], (c) => c.inc(deferred()));
    const superseded =
      "Requests and sessions refused because the instance may not speak for its node";
    this.#counter("fleet_instances_refused_total", superseded, ["reason"], (c) => {
      for (const [reason, n] of registry.refused.entries()) c.inc({ reason }, n);
    });
  }

  #uplinks({ refused, fetchers, server }: MetricsSources["uplinks"]): void {
    this.#gauge("fleet_frame_connections", "Open connections on the frame port", (g) =>
      g.set(server.connections),
    );
    const lines = "Lines and connections that the frame port refused";
    this.#counter("fleet_lines_refused_total", lines, ["reason"], (c) => {
      for (const [reason, n] of refused.entries()) c.inc({ reason }, n);
    });
    const fetches = "Fetches of frames, by outcome";
    this.#counter("fleet_fetches_total", fetches, ["stream", "outcome"], (c) => {
      for (const [stream, outcomes] of fetchers.outcomes()) {
        for (const [outcome, n] of outcomes.entries()) c.inc({ stream, outcome }, n);
      }
    });
  }

  /** Counters of each agent's latest heartbeat: produced = acked + spooled + Σ dropped. (A16) */
  #sensors(registry: Registry): void {
    const all = function* (): Generator<readonly [string, SensorCounters]> {
      for (const { id, counters } of registry.list()) {
        for (const [sensor, counts] of Object.entries(counters))
          if (counts !== undefined) yield [`${id}.${sensor}`, counts];
      }
    };
    const each = () => all().take(STREAMS_MAX);
    const omitted = "Streams left out of the sensors' metrics, because there are too many";
    this.#gauge("fleet_metrics_streams_omitted", omitted, (g) =>
      g.set([...all().drop(STREAMS_MAX)].length),
    );
    const total = (name: "produced" | "acked", help: string): void =>
      this.#counter(`fleet_sensor_frames_${name}_total`, help, ["stream"], (c) => {
        for (const [stream, counts] of each()) c.inc({ stream }, counts[name]);
      });
    total("produced", "Frames that agents have read from their sensors");
    total("acked", "Frames that agents have received an acknowledgement for");
    this.#gauge(
      "fleet_sensor_frames_spooled",
      "Frames that wait in the spools of agents",
      (g) => {
        for (const [stream, { spooled }] of each()) g.set({ stream }, spooled);
      },
      ["stream"],
    );
    this.#counter(
      "fleet_sensor_frames_dropped_total",
      "Frames that agents have dropped",
      ["stream", "reason"],
      (c) => {
        for (const [stream, { dropped }] of each())
          for (const [reason, n] of Object.entries(dropped)) c.inc({ stream, reason }, n);
      },
    );
  }

  #trackers({ manager, trackLog }: MetricsSources["trackers"]): void {
    const each = (name: string, help: string, read: (tracker: Tracker) => number): void =>
      this.#counter(name, help, ["stream"], (c) => {
        for (const t of manager.list()) c.inc({ stream: t.streamId }, read(t));
      });
    const accepted = "Frames that the sockets of trackers have accepted";
    each("fleet_frames_accepted_total", accepted, (t) => t.queue.framesAccepted);
    const redelivered = "Frames sent again to a later run of the tracker";
    each("fleet_frames_redelivered_total", redelivered, (t) => t.queue.framesRedelivered);
    const abandoned = "Frames not sent again because run after run died";
    each("fleet_frames_abandoned_total", abandoned, (t) => t.queue.framesAbandoned);
    const events = "Track events, without repeats";
    each("fleet_track_events_total", events, (t) => t.tracks.events);
    const repeated = "Track events that a later run repeated";
    each("fleet_track_events_repeated_total", repeated, (t) => t.events.repeatedEvents);
    const bad = "Lines of trackers that are not track events";
    each("fleet_tracker_lines_bad_total", bad, (t) => t.events.badLines);
    const dropped = "Frames that the coordinator has dropped";
    this.#counter("fleet_frames_dropped_total", dropped, ["stream", "reason"], (c) => {
      for (const t of manager.list()) {
        for (const [reason, n] of Object.entries(t.queue.dropped))
          c.inc({ stream: t.streamId, reason }, n);
      }
    });
    const refused = "Streams that were refused a tracker";
    this.#counter("fleet_streams_refused_total", refused, ["reason"], (c) => {
      for (const [reason, n] of Object.entries(manager.refused)) c.inc({ reason }, n);
    });
    const lost = "Track events that could not be written to files";
    this.#counter("fleet_track_events_lost_total", lost, [], (c) => c.inc(trackLog.lost));
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

  /** Adds a counter. `read` supplies the total, so the counter is reset before each reading. */
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
