import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** The bytes that are in use once all garbage is gone. */
export function usedMemory(): number {
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  if (typeof collect !== "function") throw new Error("no collector to call")
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
