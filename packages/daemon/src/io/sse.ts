/** Server-sent events (WHATWG HTML §9.2): a bounded writer for servers and a bounded reader for clients. */

/** The longest line that a reader accepts, in characters. */
const LINE_MAX = 1024 * 1024;

const encoder = new TextEncoder();

/** An event. `data` may have several lines. */
export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id?: string;
}

/** How much may wait for a client that reads too slowly: bytes, or events and comments. */
export type EventQueueLimit = { readonly bytes: number } | { readonly events: number };

/**
 * Writes one event stream. `body` is the response's. A client that does not keep up is disconnected: the stream closes when
 * the queue is full, and writing to a closed stream does nothing.
 */
export class EventWriter {
  readonly body: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #isOpen = true;
  readonly #onClose: (cause: "server" | "client") => void;

  /** `onClose` is called once: `client` when the client disconnects, `server` when this side closes the stream. */
  constructor(limit: EventQueueLimit, onClose: (cause: "server" | "client") => void) {
    this.#onClose = onClose;
    const strategy =
      "bytes" in limit
        ? { highWaterMark: limit.bytes, size: (chunk?: Uint8Array) => chunk?.length ?? 0 }
        : { highWaterMark: limit.events, size: () => 1 };
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#controller = controller),
        cancel: () => this.#close("client"),
      },
      strategy,
    );
  }

  send({ event, data, id }: ServerEvent): void {
    const lines = data.split("\n").map((line) => `data: ${line}\n`);
    const head = id === undefined ? "" : `id: ${id}\n`;
    this.#write(`${head}event: ${event}\n${lines.join("")}\n`);
  }

  /** Writes a comment, which clients ignore; it keeps the connection in use. */
  comment(text: string): void {
    this.#write(`: ${text}\n\n`);
  }

  /** Closes the stream after what is queued. */
  close(): void {
    this.#close("server");
  }

  #write(text: string): void {
    if (!this.#isOpen) return;
    if ((this.#controller.desiredSize ?? 0) <= 0) this.#close("server");
    else this.#controller.enqueue(encoder.encode(text));
  }

  #close(cause: "server" | "client"): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (cause === "server") this.#controller.close();
    this.#onClose(cause);
  }
}

/**
 * Reads an event stream whose lines end with LF or CRLF, skipping comments. The iteration ends with the stream, and throws
 * when the connection breaks or a line or an event exceeds LINE_MAX characters (1 Mi).
 */
export async function* readEvents({ body }: Pick<Response, "body">): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let fields: { event?: string; data?: string; id?: string } = {};
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r?\n/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line !== "") fields = withField(fields, line);
      else if (fields.data !== undefined) yield { event: "message", data: "", ...fields };
      if (line === "") fields = {};
    }
    if (rest.length > LINE_MAX) throw new Error(`a line exceeds ${LINE_MAX} characters`);
  }
}

type Fields = { readonly event?: string; readonly data?: string; readonly id?: string };

function withField(fields: Fields, line: string): Fields {
  const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
  if (name === "event" || name === "id") return { ...fields, [name]: value };
  if (name !== "data") return fields;
  const data = fields.data === undefined ? value : `${fields.data}\n${value}`;
  if (data.length > LINE_MAX) throw new Error(`an event exceeds ${LINE_MAX} characters`);
  return { ...fields, data };
}
