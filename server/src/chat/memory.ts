import type { Database } from "../db/database.ts"
import { AppError } from "../lib/errors.ts"
import type { WorkspaceFiles } from "../sandboxes/driver.ts"

/** What of MEMORY.md is read into a prompt. */
const MAX_BYTES = 64 * 1024
const NAME = "MEMORY.md"

/**
 * Reads an agent's MEMORY.md again into the copy that prompts are made from. To be called when the file may have
 * changed: after a run that used the sandbox, and after a write through the API.
 */
export async function refreshMemory(
  db: Database,
  files: WorkspaceFiles,
  agentId: string,
  signal: AbortSignal,
): Promise<void> {
  const text = await readMemory(files, signal)
  await db.batch([
    {
      query: db.kysely
        .updateTable("agents")
        .set({ memory: text })
        .where("id", "=", agentId)
        .where("memory", "<>", text),
    },
  ])
}

async function readMemory(files: WorkspaceFiles, signal: AbortSignal): Promise<string> {
  try {
    const { body } = await files.read(NAME, { start: 0, end: MAX_BYTES }, signal)
    const chunks: Buffer[] = []
    for await (const chunk of body) chunks.push(chunk)
    // A character cut in the middle, and what no database keeps, is left out.
    return Buffer.concat(chunks)
      .toString()
      .replace(/\uFFFD$/, "")
      .replaceAll("\0", "")
  } catch (error) {
    if (error instanceof AppError && error.status < 500) return ""
    throw error
  }
}
