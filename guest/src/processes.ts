import { readdirSync, readFileSync } from "node:fs"

/** Kills a command's process group and every group of its session (what `set -m` or a job control shell made). */
export function killCommand(leader: number): void {
  for (const pid of membersOf(leader)) kill(pid)
  kill(-leader)
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // Ended already.
  }
}

function membersOf(leader: number): number[] {
  return processes().filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
      // After the name in brackets, which may hold anything: state, parent, group, session.
      const [, , group, session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return group === String(leader) || session === String(leader)
    } catch {
      return false
    }
  })
}

function processes(): number[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
  } catch {
    return []
  }
}

/** Every process whose environment holds `marker`: without a process namespace this finds what commands left behind. */
export function killMarked(marker: string): void {
  const mark = Buffer.from(marker)
  // Twice: the second time catches what was forked during the first.
  for (let round = 0; round < 2; round++) {
    for (const pid of processes()) {
      if (pid === process.pid) continue
      try {
        if (readFileSync(`/proc/${pid}/environ`).includes(mark)) kill(pid)
      } catch {
        // Ended, or another user's.
      }
    }
  }
}
