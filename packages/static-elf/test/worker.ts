/** Doubles the numbers it receives. */
declare const self: Worker;

self.addEventListener("message", ({ data }) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- That is for windows.
  self.postMessage((data as number) * 2);
});
