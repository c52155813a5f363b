import { randomBytes } from "node:crypto"
import { closeSync, fsyncSync, linkSync, openSync, renameSync, unlinkSync, writeSync } from "node:fs"
import { dirname } from "node:path"

const ONLY_OWNER = 0o600

/** Makes a file that is not there yet, whole or not at all, readable by its owner only. Throws EEXIST when it is there. */
export function createFile(path: string, content: string): void {
  const temporary = writeTemporary(path, content)
  try {
    linkSync(temporary, path)
  } finally {
    unlinkSync(temporary)
  }
  syncFolder(path)
}

/** Replaces a file, whole or not at all. */
export function replaceFile(path: string, content: string): void {
  renameSync(writeTemporary(path, content), path)
  syncFolder(path)
}

/** A rename or a new name is durable once its folder is. */
export function syncFolder(path: string): void {
  const folder = openSync(dirname(path), "r")
  fsyncSync(folder)
  closeSync(folder)
}

function writeTemporary(path: string, content: string): string {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
  const file = openSync(temporary, "wx", ONLY_OWNER)
  try {
    writeSync(file, content)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return temporary
}
