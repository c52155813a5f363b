import pg from "pg"
import { withDeadline } from "../lib/deadline.ts"

/** What a listener hears. `up` and `down` take turns; between `down` and `up` notices are lost. */
export interface Heard {
  notice(payload: string): void
  up(): void
  down(): void
}

/** A server that is gone without a word is noticed after the two together. */
const BEAT_EVERY_MS = 350
const BEAT_WITHIN_MS = 400
const AGAIN_AFTER_MS = 200

/** Listens on a connection of its own, which is made anew as often as it breaks. */
export function listenOn(config: pg.ClientConfig, channel: string, heard: Heard): AsyncDisposable {
  let stopped = false
  let stopWaiting = () => {}
  let current: pg.Client | null = null

  async function once(): Promise<void> {
    const client = new pg.Client({ ...config, connectionTimeoutMillis: 5000 })
    current = client
    const { promise: broken, resolve: breakOff } = Promise.withResolvers<void>()
    client.on("error", () => breakOff())
    client.on("end", () => breakOff())
    client.on("notification", ({ payload }) => heard.notice(payload ?? ""))
    let isUp = false
    try {
      await client.connect()
      await client.query(`listen ${client.escapeIdentifier(channel)}`)
      isUp = true
      if (!stopped) heard.up()
      while (!stopped) {
        await Promise.race([broken, wait(BEAT_EVERY_MS)])
        if (stopped) break
        await Promise.race([withDeadline(client.query("select 1"), BEAT_WITHIN_MS), broken.then(lost)])
      }
    } finally {
      if (isUp && !stopped) heard.down()
      // Not awaited: a server that is gone would never answer.
      client.end().catch(() => {})
    }
  }

  function wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      timer.unref()
      stopWaiting = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  const running = (async () => {
    while (!stopped) {
      await once().catch(() => {})
      if (!stopped) await wait(AGAIN_AFTER_MS)
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      stopped = true
      stopWaiting()
      // Whatever is under way on it ends with it.
      current?.end().catch(() => {})
      await running
    },
  }
}

function lost(): never {
  throw new Error("the connection was lost")
}
