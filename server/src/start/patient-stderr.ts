import { constants, fstatSync, openSync, writeSync } from "node:fs"

/** A pipe takes so much in one piece or not at all. */
const PIECE_BYTES = 4096
const STDERR = 2

/**
 * Writes lines to standard error, but never waits for whoever reads it: Node's own write to a full pipe holds up the whole
 * process. Lines that a reader who is behind cannot take are lost. Each line has less than 4,096 bytes, its end included.
 */
export function patientStderr(): (lines: string) => void {
  const fd = openWithoutWaiting()
  if (fd === null) return (lines) => void process.stderr.write(lines)
  return (lines) => {
    try {
      for (const piece of piecesOf(lines)) writeSync(fd, piece)
    } catch (error) {
      // Full, or nobody reads any more.
      if (!(error instanceof Error && "code" in error && (error.code === "EAGAIN" || error.code === "EPIPE")))
        throw error
    }
  }
}

/** A second way to the same pipe. Only of a pipe: two ways to one file would write over each other. */
function openWithoutWaiting(): number | null {
  try {
    if (!fstatSync(STDERR).isFIFO()) return null
    return openSync(`/proc/self/fd/${STDERR}`, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return null
  }
}

function* piecesOf(lines: string): Generator<Buffer> {
  const bytes = Buffer.from(lines)
  for (let start = 0; start < bytes.length; ) {
    const most = Math.min(start + PIECE_BYTES, bytes.length)
    const line = bytes.lastIndexOf("\n", most - 1) + 1
    const end = line > start ? line : most
    yield bytes.subarray(start, end)
    start = end
  }
}
