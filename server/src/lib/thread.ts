import { readlinkSync } from "node:fs"
import { getCompileCacheDir } from "node:module"
import { constants, getPriority, setPriority } from "node:os"
import { dirname } from "node:path"

/**
 * A thread takes the compile cache from its environment only. With a warm one it loads no compiler for TypeScript, which
 * would take 17 MB in each thread.
 */
export function compileCache(): Record<string, string> {
  const dir = getCompileCacheDir()
  return dir === undefined ? {} : { NODE_COMPILE_CACHE: dirname(dir) }
}

/** How far behind the others a thread stands that does long pieces of work: it gets a third of a contended core. */
const STEP_BACK = 5

/** Lets the server's other threads go before the one that calls this. Where the system has no such thing, nothing. */
export function letOthersGoFirst(): void {
  try {
    const tid = Number(readlinkSync("/proc/thread-self").split("/").at(-1))
    setPriority(tid, Math.min(constants.priority.PRIORITY_LOW, getPriority(tid) + STEP_BACK))
  } catch {
    // Only for the sake of speed.
  }
}
