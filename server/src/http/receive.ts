import type { Readable } from "node:stream"
import { AppError } from "../lib/errors.ts"
import { brokenOff } from "./large-bodies.ts"
import type { Sender } from "./senders.ts"

export const tooLarge = (what = "the body is too large"): AppError => new AppError("too_large", what)

/**
 * Gives each chunk to `take` until the end (true), or until `take` wants no more for now (false). Fails with 408 when
 * its sender is too slow.
 */
export function receive(body: Readable, sender: Sender, take: (chunk: Buffer) => boolean): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  let isSettled = false
  const onData = (chunk: Buffer) => {
    try {
      sender.came(chunk.length)
      if (!take(chunk)) settle(false)
    } catch (error) {
      settle(false, error)
    }
  }
  const onEnd = () => settle(true)
  const onBroken = () => {
    if (!isSettled) settle(false, brokenOff())
  }
  const arrived = sender.wait((error) => settle(false, error))
  function settle(ended: boolean, error?: unknown): void {
    if (isSettled) return
    isSettled = true
    arrived()
    // One that has ended tells nothing more, and takes its listeners with it.
    if (ended) {
      resolve(true)
      return
    }
    body.pause()
    body.off("data", onData).off("end", onEnd).off("error", onBroken).off("close", onBroken)
    if (error === undefined) resolve(false)
    else reject(error)
  }
  body.on("data", onData).on("end", onEnd).on("error", onBroken).on("close", onBroken)
  if (body.destroyed) onBroken()
  else body.resume()
  return promise
}
