import type { Readable } from "node:stream"
import { type Engine, isGone } from "./engine.ts"

/** What is inside; the number goes up with every change here or of how it is made, so that an old image is not used. */
const VERSION = 1
const REPOSITORY = "autonomis-sandbox"
export const IMAGE = `${REPOSITORY}:${VERSION}`
export const BUILD_COMMAND = "npm run sandbox-image"

/** Debian's packages beside those that every Debian has. Node itself is shown from the host; it needs the last two. */
export const IMAGE_PACKAGES =
  "ca-certificates curl file git jq less patch perl procps python3 python3-pip python3-venv ripgrep unzip xz-utils zip libatomic1 libstdc++6".split(
    " ",
  )

/** Makes the image out of a tar of its files. */
export async function importImage(engine: Engine, tar: Readable, signal: AbortSignal): Promise<void> {
  const changes = ["USER 10001:10001", "WORKDIR /work", "ENV PATH=/usr/local/bin:/usr/bin:/bin"]
  await engine.call("POST", "/images/create", {
    query: { fromSrc: "-", repo: REPOSITORY, tag: String(VERSION), changes },
    body: tar,
    signal,
  })
}

export async function hasImage(engine: Engine, signal: AbortSignal): Promise<boolean> {
  try {
    await engine.call("GET", `/images/${IMAGE}/json`, { signal })
    return true
  } catch (error) {
    if (isGone(error)) return false
    throw error
  }
}
