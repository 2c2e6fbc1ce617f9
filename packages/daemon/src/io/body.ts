/** Reads the body of an HTTP request or response whose sender is not trusted to keep it short. */

/**
 * Reads at most `bytesMax` bytes. Returns undefined, and cancels the rest, when the body is longer. Rejects when the
 * connection breaks or its signal aborts.
 */
export async function readBody(
  { body }: Pick<Response, "body">,
  bytesMax: number,
): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}
