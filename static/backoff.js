// How long to wait before the next attempt to connect, and whether to make one.

const BASE_DELAY = 500; // ms; the ceiling of the first delay
const MAX_DELAY = 30_000; // ms; no ceiling is higher

// Backoff waits a random time below a ceiling that doubles with each attempt
// ("full jitter"). Without the random part, all clients of a server that
// restarts would come back in the same instant, again and again.
export class Backoff {
  #attempts = 0; // since the last reset

  // next returns the next delay in ms. random is at least 0 and less than 1.
  next(random = Math.random()) {
    return random * Math.min(MAX_DELAY, BASE_DELAY * 2 ** this.#attempts++);
  }

  reset() {
    this.#attempts = 0;
  }
}

// mayRetry reports whether connecting again makes sense after a close code: 1008 is
// a refusal, and so, by the usual convention, is an application's own code.
export function mayRetry(code) {
  return code !== 1008 && !(code >= 4000 && code <= 4999);
}
