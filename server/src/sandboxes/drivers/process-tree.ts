import { readdirSync, readFileSync } from "node:fs"

/** The guest gives this to every command, so that the kernel takes those first when memory is short. */
const COMMAND_SCORE = 500

/** Signals all commands below a sandbox's first process, background ones too, but neither the guest nor its keeper. */
export function signalCommands(root: number, signal: NodeJS.Signals): void {
  // Twice: the second time catches what was forked during the first.
  for (let round = 0; round < 2; round++) {
    for (const pid of below(root)) {
      try {
        if (Number(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8")) >= COMMAND_SCORE) process.kill(pid, signal)
      } catch {
        // Ended.
      }
    }
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
