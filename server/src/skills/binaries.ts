import { readdir, realpath, stat } from "node:fs/promises"
import { delimiter, join } from "node:path"
import type { Clock } from "../lib/clock.ts"

/** The folders of a bubblewrap sandbox's PATH that are the host's own, and what of the host it sees. */
const SANDBOX_PATH = ["/usr/bin", "/bin"]
const SANDBOX_SEES = /^\/(?:usr|bin|sbin|lib\w*)\//
const KEPT_MS = 60_000

/**
 * The programs that commands find. `sandbox`: in one which shows the host's `/usr` and brings its own Node; `host`: on
 * the server's own PATH. Looked up again after a minute, so that a program which the operator adds counts without a
 * restart.
 */
export function hostBinaries(clock: Clock, where: "sandbox" | "host"): () => Promise<ReadonlySet<string>> {
  const folders = where === "sandbox" ? SANDBOX_PATH : (process.env.PATH ?? "").split(delimiter)
  const look = () => lookIn(folders, where === "sandbox" ? SANDBOX_SEES : /^/)
  let kept: Promise<ReadonlySet<string>> | null = null
  let lookedAt = 0
  return () => {
    const now = clock.now()
    if (kept !== null && now - lookedAt < KEPT_MS) return kept
    lookedAt = now
    const before = kept
    const looking = look()
    kept ??= looking
    // Nobody waits for a second look: what was found before serves until it is done.
    if (before !== null) {
      void looking.then(() => {
        kept = looking
      })
    }
    return kept
  }
}

async function lookIn(folders: readonly string[], seen: RegExp): Promise<ReadonlySet<string>> {
  const found = new Set(["node"])
  const looked = new Set<string>()
  for (const folder of folders) {
    // On most systems `/bin` is `/usr/bin`.
    const real = await realpath(folder).catch(() => null)
    if (real === null || looked.has(real)) continue
    looked.add(real)
    const names = await readdir(real).catch((): string[] => [])
    await Promise.all(
      names.map(async (name) => {
        if (await everyoneMayRun(join(real, name), seen)) found.add(name)
      }),
    )
  }
  return found
}

/** A sandbox's commands run as a user of their own, who has no more rights than anybody. */
async function everyoneMayRun(path: string, seen: RegExp): Promise<boolean> {
  try {
    const target = await realpath(path)
    if (!seen.test(target)) return false
    const found = await stat(target)
    return found.isFile() && (found.mode & 0o001) !== 0
  } catch {
    return false
  }
}
