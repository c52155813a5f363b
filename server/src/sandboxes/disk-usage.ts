import { spawn } from "node:child_process"
import { statfs } from "node:fs/promises"
import { basename } from "node:path"
import { measureTree } from "./tree.ts"
import { openFolder } from "./walk.ts"

export interface Usage {
  bytes: number
  entries: number
}

/** What lies below a folder that holds one folder for each agent. */
export interface FolderUsage {
  all: Usage
  /** By agent; empty where only the sum is known. */
  agents: Map<string, Usage>
}

/** Of a file system of its own the sum is asked for, which costs nothing. */
export async function usageOfDisk(folder: string): Promise<FolderUsage> {
  const disk = await statfs(folder)
  const bytes = (disk.blocks - disk.bfree) * disk.bsize
  return { all: { bytes, entries: disk.files - disk.ffree }, agents: new Map() }
}

const SCRIPT = `du -x -d 1 --block-size=1 -- "$@"; echo; du -x -d 1 --inodes -- "$@"`

/**
 * `du` walks by descriptors, follows no link and goes to any depth, in a process of its own that gives way to others.
 * Bytes as the disk holds them; a folder that could not be read is made readable, so that nothing hides in it.
 */
export async function usageOfFolders(folders: string[]): Promise<Map<string, FolderUsage>> {
  const first = await du(folders)
  if (!first.hidden) return parsed(folders, first.said)
  for (const folder of folders) await openUp(folder)
  return parsed(folders, (await du(folders)).said)
}

async function openUp(folder: string): Promise<void> {
  const root = await openFolder(folder).catch(() => null)
  try {
    if (root !== null) await measureTree(root, AbortSignal.timeout(60_000)).catch(() => {})
  } finally {
    await root?.close()
  }
}

function du(folders: string[]): Promise<{ said: string; hidden: boolean }> {
  return new Promise((resolve, reject) => {
    const child = spawn("nice", ["/bin/sh", "-c", SCRIPT, "du", ...folders], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: "/usr/bin:/bin", LC_ALL: "C" },
    })
    let said = ""
    let hidden = false
    child.stdout.setEncoding("latin1").on("data", (chunk: string) => {
      said += chunk
    })
    child.stderr.setEncoding("latin1").on("data", (chunk: string) => {
      hidden ||= /Permission denied/.test(chunk)
    })
    child.once("error", reject)
    child.once("close", () => resolve({ said, hidden }))
  })
}

function parsed(folders: string[], said: string): Map<string, FolderUsage> {
  const found = new Map(folders.map((folder) => [folder, { all: none(), agents: new Map<string, Usage>() }]))
  const [bytes = "", entries = ""] = said.split("\n\n")
  const add = (text: string, field: keyof Usage) => {
    for (const [, count, path = ""] of text.matchAll(/^(\d+)\t(.*)$/gm)) {
      const whole = found.get(path)
      if (whole !== undefined) whole.all[field] = Number(count)
      else {
        const agents = found.get(path.slice(0, path.lastIndexOf("/")))?.agents
        const usage = agents?.get(basename(path)) ?? none()
        usage[field] = Number(count)
        agents?.set(basename(path), usage)
      }
    }
  }
  add(bytes, "bytes")
  add(entries, "entries")
  return found
}

const none = (): Usage => ({ bytes: 0, entries: 0 })
