import type { Duplex } from "node:stream"
import { createFrameReader, createFrameWriter, type FrameWriter, ProtocolError } from "@autonomis/guest/frames.ts"
import { type FrameType, MAX_GUEST_PAYLOAD } from "@autonomis/guest/protocol.ts"

/** A guest may use this part of the server's thread, whatever it sends; then its stream is left unread for a while. */
const SHARE = 0.25
const BURST_MS = 60
/** Charged for each chunk at least, so that a flood of tiny frames counts too. */
const CHUNK_COST_MS = 0.01

export interface GuestLink extends FrameWriter {
  close(): void
}

export interface LinkEvents {
  /** May throw a ProtocolError: the guest lies, and the link is closed. */
  onFrame(type: FrameType, channel: number, payload: Buffer): void
  /** Once, after which no frame comes. */
  onClose(violation: string | null): void
}

/** Frames to and from one guest, which is not trusted: nothing it sends can hold memory or the thread. */
export function openGuestLink(stream: Duplex, events: LinkEvents): GuestLink {
  let violation: string | null = null
  let debtMs = 0
  let lastMs = performance.now()
  let resume: NodeJS.Timeout | undefined
  const read = createFrameReader(MAX_GUEST_PAYLOAD, events.onFrame)

  stream.on("data", (chunk: Buffer) => {
    const startMs = performance.now()
    debtMs = Math.max(0, debtMs - (startMs - lastMs) * SHARE)
    lastMs = startMs
    try {
      read(chunk)
    } catch (error) {
      // Whatever broke, it broke on what this guest sent.
      violation = error instanceof ProtocolError ? error.message : "an answer that cannot be read"
      stream.destroy()
      return
    }
    debtMs += Math.max(CHUNK_COST_MS, performance.now() - startMs)
    if (debtMs > BURST_MS) {
      stream.pause()
      resume = setTimeout(() => stream.resume(), (debtMs - BURST_MS / 2) / SHARE)
    }
  })
  stream.on("error", () => {})
  stream.once("end", () => stream.destroy())
  stream.once("close", () => {
    clearTimeout(resume)
    events.onClose(violation)
  })
  return { ...createFrameWriter(stream), close: () => stream.destroy() }
}
