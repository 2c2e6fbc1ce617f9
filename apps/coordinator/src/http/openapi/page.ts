/** The API reference as one HTML page, made from the OpenAPI document. It has no scripts and loads nothing. (H4) */
import { html } from "hono/html";
import type { DocumentedResponse, DocumentedOperation, OpenApiDocument } from "./document.ts";
import type { JsonSchema } from "./schemas.ts";

type Html = ReturnType<typeof html>;

const STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h2 { margin: 2.5rem 0 .5rem; }
code { font: .92em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; font-family: ui-monospace, monospace; }
summary span { opacity: .75; margin-left: .6rem; }
table { border-collapse: collapse; width: 100%; margin: .3rem 0 .8rem; }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-top: 1px solid var(--line); }
td:first-child { white-space: nowrap; }
small { opacity: .75; }
`;

/** Renders the page. */
export function referencePage(document: OpenApiDocument): Html {
  const { info, tags, paths, components } = document;
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${info.title} ${info.version}</title>
        <style>
          ${STYLE}
        </style>
      </head>
      <body>
        <h1>${info.title} <small>${info.version}</small></h1>
        <p>
          ${info.description} <a href="openapi.json">openapi.json</a> is the same document for
          programs.
        </p>
        ${tags.map(
          ({ name, description }) =>
            html`<h2 id="${name}">${name}</h2>
              <p>${description}</p>
              ${routes
                .filter(({ operation }) => operation.tags.includes(name))
                .map(({ path, method, operation }) => route(method, path, operation))}`,
        )}
        <h2 id="tokens">tokens</h2>
        ${table(
          Object.entries(components.securitySchemes).map(([name, { description }]) => [
            html`<code>${name}</code>`,
            html`${description}`,
          ]),
        )}
        <h2 id="schemas">schemas</h2>
        ${Object.entries(components.schemas).map(
          ([name, schema]) =>
            html`<details id="schema-${name}" open>
              <summary><b>${name}</b></summary>
              ${fields(schema)}
            </details>`,
        )}
      </body>
    </html>`;
}

function route(method: string, path: string, operation: DocumentedOperation): Html {
  const { operationId, summary, description = "", parameters, requestBody, responses } = operation;
  const rows = parameters.map(({ name, in: where, required, schema, description: words = "" }) => [
    html`<code>${name}</code><br /><small>${where}${required ? ", required" : ""}</small>`,
    html`${typeOf(schema)}<br />${withCode(words)}`,
  ]);
  const bodies = Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => [
    html`body<br /><small>${requestBody?.required === true ? "required" : "optional"}</small>`,
    html`<small>${type}</small> ${schema === undefined ? "" : typeOf(schema)}<br />
      ${withCode(requestBody?.description ?? "")}`,
  ]);
  const answers = Object.entries(responses).map(([status, answer]) => [
    html`<code>${status}</code>`,
    answerCell(answer),
  ]);
  return html`<details id="${operationId}">
    <summary><b>${method.toUpperCase()}</b> <code>${path}</code><span>${summary}</span></summary>
    <p>${withCode(description)}</p>
    <p><small>${accessOf(operation)}</small></p>
    ${table([...rows, ...bodies])} ${table(answers)}
  </details>`;
}

function answerCell({ description, content = {} }: DocumentedResponse): Html {
  const types = Object.entries(content).map(
    ([type, { schema }]) => html`<small>${type}</small> ${schema ? typeOf(schema) : ""} `,
  );
  return html`${withCode(description)}<br />${types}`;
}

function accessOf({ security }: DocumentedOperation): string {
  if (security.length === 0) return "Needs no token.";
  const schemes = security.flatMap((any) => Object.entries(any));
  const tokens = schemes.map(([scheme, [role]]) =>
    role === undefined ? scheme : `${scheme} (${role})`,
  );
  return `Needs a token: ${tokens.join(" or ")}.`;
}

function table(rows: readonly (readonly Html[])[]): Html {
  if (rows.length === 0) return html``;
  return html`<table>
    ${rows.map(
      (cells) =>
        html`<tr>
          ${cells.map((cell) => html`<td>${cell}</td>`)}
        </tr> `,
    )}
  </table>`;
}

function fields(schema: JsonSchema): Html {
  const required = new Set(schema.required ?? []);
  const properties = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>);
  return table(
    properties.map(([name, property]) => [
      html`<code>${name}</code>${required.has(name) ? "" : html`<br /><small>optional</small>`}`,
      html`${typeOf(property)}<br />${withCode(property.description ?? "")}`,
    ]),
  );
}

/** The type of a schema in a few words. Named schemas are links; nested objects without a name list their fields. */
function typeOf(schema: JsonSchema): Html {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split("/").at(-1);
    return html`<a href="#schema-${name}">${name}</a>`;
  }
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`;
  if (schema.enum !== undefined) {
    const values = schema.enum.map((value) => html`<code>${String(value)}</code> `);
    return html`one of ${values}`;
  }
  if (schema.anyOf !== undefined) {
    const [first, ...rest] = schema.anyOf.map(typeOf);
    return html`${first}${rest.map((other) => html` or ${other}`)}`;
  }
  if (schema.type === "array")
    return html`list of ${typeOf((schema.items ?? {}) as JsonSchema)}${limits(schema)}`;
  if (schema.properties !== undefined) return html`object ${fields(schema)}`;
  if (typeof schema.additionalProperties === "object")
    return html`map of ${typeOf(schema.additionalProperties)}`;
  const { type = "anything" } = schema as { readonly type?: string | readonly string[] };
  return html`${[type].flat().join(" or ")}${limits(schema)}`;
}

function limits(schema: JsonSchema): Html {
  const { minimum, maximum, minLength, maxLength, maxItems, pattern, format } = schema;
  const texts = [
    minimum === undefined ? "" : `≥ ${minimum}`,
    maximum === undefined ? "" : `≤ ${maximum}`,
    minLength === undefined ? "" : `at least ${minLength} characters`,
    maxLength === undefined ? "" : `at most ${maxLength} characters`,
    maxItems === undefined ? "" : `at most ${maxItems}`,
    format ?? "",
    schema.default === undefined ? "" : `default ${JSON.stringify(schema.default)}`,
  ].filter((text) => text !== "");
  const shape = pattern === undefined ? "" : html` <code>${pattern}</code>`;
  const list = texts.length === 0 ? "" : html` <small>${texts.join(", ")}</small>`;
  return html`${list}${shape}`;
}

/** Text whose parts between backticks are code. */
function withCode(text: string): Html {
  const parts = text.split("`");
  return html`${parts.map((part, at) => (at % 2 === 0 ? part : html`<code>${part}</code>`))}`;
}
