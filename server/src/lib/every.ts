/**
 * Does something at intervals, never twice at once. Disposed of, it begins no more, and waits for what is under way,
 * which hears of it by the signal: nothing of it comes after the database was closed.
 */
export function every(
  ms: number,
  work: (signal: AbortSignal) => Promise<void>,
  failed: (error: unknown) => void,
): AsyncDisposable {
  const stop = new AbortController()
  let underWay: Promise<void> | null = null
  const timer = setInterval(() => {
    underWay ??= work(stop.signal)
      .catch((error: unknown) => {
        if (!stop.signal.aborted) failed(error)
      })
      .finally(() => {
        underWay = null
      })
  }, ms).unref()
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      stop.abort()
      await underWay
    },
  }
}
