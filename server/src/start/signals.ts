/** Ctrl-C reaches the server twice when npm started it: from the terminal and from npm. Within this time it is one. */
const SAME_INTERRUPT_MS = 250

export interface Stopping {
  /** Begins the orderly stop; called once. */
  stop(signal: string): void
  /** Ends at once. */
  kill(): void
}

/** SIGTERM and SIGHUP, however often, and the first SIGINT stop in order; the next SIGINT kills. */
export function listenForSignals({ stop, kill }: Stopping): void {
  let stopping = false
  let interruptedAt: number | null = null
  const once = (signal: string) => {
    if (stopping) return
    stopping = true
    stop(signal)
  }
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => once(signal))
  process.on("SIGINT", () => {
    const now = performance.now()
    if (interruptedAt === null) interruptedAt = now
    else if (now - interruptedAt > SAME_INTERRUPT_MS) kill()
    once("SIGINT")
  })
}
