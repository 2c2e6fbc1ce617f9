/** Returns Unix ms with the resolution of the monotonic clock. Comparable between processes. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}
