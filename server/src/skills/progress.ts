import type { InstallStage } from "@autonomis/contract/skills.ts"

/** Told how far an upload or install is; with `amount` while bytes come. */
export type TellStage = (stage: InstallStage["stage"], amount?: { bytes: number; total: number | null }) => void

/** A download of known size is told of in so many steps, another after each so many bytes. */
const STEPS = 50
const STEP_BYTES = 64 * 1024

/** Hands on what it gets, and tells how much that was: however small its pieces are, not for each of them. */
export async function* counted(
  body: AsyncIterable<Uint8Array>,
  total: number | null,
  tell: TellStage,
): AsyncGenerator<Uint8Array> {
  const step = total === null ? STEP_BYTES : total / STEPS
  let bytes = 0
  let told = 0
  tell("downloading", { bytes, total })
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes - told >= step) {
      told = bytes
      tell("downloading", { bytes, total })
    }
    yield chunk
  }
  if (bytes > told) tell("downloading", { bytes, total })
}
