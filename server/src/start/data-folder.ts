import { closeSync, existsSync, mkdirSync, openSync, unlinkSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { StartError } from "../lib/start-error.ts"

/** Others may pass through to the workspaces that are theirs, but not look around. */
const FOLDER_MODE = 0o711

/** Makes the folder if it is not there, and sees that files can be written to it. */
export function prepareDataFolder(folder: string): void {
  try {
    makeFolder(folder)
    const probe = join(folder, `.probe-${process.pid}`)
    closeSync(openSync(probe, "w", 0o600))
    unlinkSync(probe)
  } catch (error) {
    throw new StartError(`AUTONOMIS_DATA_DIR: the folder ${folder} cannot be written (${codeOf(error)}).`)
  }
}

/** Not by `recursive`: where the system gives ENOENT for what cannot be made (`/proc`), Node then tries for ever. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return
  makeFolder(dirname(folder))
  mkdirSync(folder, { mode: FOLDER_MODE })
}

/**
 * Keeps every other server away from the folder. The lock is the operating system's, taken through SQLite: it is gone
 * the moment this process is, however it ended, so a crash never leaves one behind.
 */
export function lockDataFolder(folder: string): Disposable {
  const path = join(folder, "server.lock")
  closeSync(openSync(path, "a", 0o600))
  const lock = new DatabaseSync(path, { timeout: 0 })
  try {
    lock.exec("pragma journal_mode=memory; begin exclusive")
  } catch (error) {
    lock.close()
    if (!(error instanceof Error && "errcode" in error && error.errcode === 5)) throw error
    throw new StartError(
      `The data folder ${folder} is in use by another Autonomis server; stop that one, or set AUTONOMIS_DATA_DIR.`,
    )
  }
  return { [Symbol.dispose]: () => lock.close() }
}

export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return "code" in error && typeof error.code === "string" ? error.code : error.message
}
