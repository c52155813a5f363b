import { createHash } from "node:crypto"
import { parentPort } from "node:worker_threads"
import { letOthersGoFirst } from "../lib/thread.ts"
import { type Lifted, lift } from "./lift.ts"
import { readJson } from "./read-json.ts"

/** The thread that reads large bodies: what takes long about them is done here, one after the other. */
export interface ReadBody {
  id: number
  bytes: ArrayBuffer
  size: number
  /** Also make a hash of the whole value. */
  digest: boolean
}

export type BodyRead = { id: number } & (
  | { refused: "not json" | "crowded" }
  | { value: unknown; lifted: [place: string, lifted: Lifted][]; sha256: string | null }
)

if (parentPort === null) throw new Error("bodies are read in a thread of the server")
const main = parentPort
letOthersGoFirst()

main.on("message", ({ id, bytes, size, digest }: ReadBody) => {
  const read = readJson(Buffer.from(bytes, 0, size))
  // Given back now: this thread's collector hardly ever runs.
  bytes.transfer(0)
  if ("refused" in read) return main.postMessage({ id, ...read } satisfies BodyRead)
  const { value } = read
  const sha256 = digest ? createHash("sha256").update(JSON.stringify(value)).digest("hex") : null
  const lifted = lift(value)
  const given = lifted.flatMap(([, one]) => ("bytes" in one ? [one.bytes.buffer] : []))
  main.postMessage({ id, value, lifted, sha256 } satisfies BodyRead, given)
})
