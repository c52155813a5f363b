import { AsyncLocalStorage } from "node:async_hooks"

/** The guarded fetch of the model call that is under way, wherever in a client's depths it is asked for. */
const current = new AsyncLocalStorage<typeof globalThis.fetch>()

/**
 * The second lock: in a worker the global `fetch` leads to the guarded one of the call under way, and to nothing
 * outside a call. Some clients (Google's) take no other.
 */
export function installGuard(): void {
  globalThis.fetch = (input, init) => {
    const guarded = current.getStore()
    if (guarded === undefined) return Promise.reject(new Error("no network outside a model call"))
    return guarded(input, init)
  }
}

export function withGuard<T>(fetch: typeof globalThis.fetch, call: () => T): T {
  return current.run(fetch, call)
}
