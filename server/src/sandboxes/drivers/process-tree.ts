import { readdirSync, readFileSync } from "node:fs"

/** Signals all commands below a sandbox's first process, background ones too, but neither the guest nor its keeper. */
export function signalCommands(root: number, signal: NodeJS.Signals, isSpared = isKeeper): void {
  // Twice: the second time catches what was forked during the first.
  for (let round = 0; round < 2; round++) {
    for (const pid of below(root)) {
      try {
        if (!isSpared(pid)) process.kill(pid, signal)
      } catch {
        // Ended.
      }
    }
  }
}

/** In a process namespace of its own the first process is bubblewrap's and the second the guest. */
function isKeeper(pid: number): boolean {
  const numbers = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]?.split(/\s+/) ?? []
  return numbers.length > 1 && Number(numbers.at(-1)) <= 2
}

/** The one that a process started first, as long as that lives; what it has adopted comes after. */
export function firstChild(pid: number): number | null {
  try {
    const first = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ")[0]
    return first ? Number(first) : null
  } catch {
    return null
  }
}

function below(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    const parent = parentOf(name)
    if (parent === null) continue
    const siblings = children.get(parent)
    if (siblings === undefined) children.set(parent, [Number(name)])
    else siblings.push(Number(name))
  }
  const found: number[] = []
  for (const queue = [root]; queue.length > 0; ) {
    const next = children.get(queue.pop() ?? 0) ?? []
    found.push(...next)
    queue.push(...next)
  }
  return found
}

function parentOf(pid: string): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
  } catch {
    return null
  }
}
