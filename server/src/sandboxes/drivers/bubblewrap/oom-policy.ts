import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { promisify } from "node:util"

const execute = promisify(execFile)
const ASK_MS = 2_000

/**
 * systemd ends a whole service when the kernel kills one of its processes for memory, and counts those of sandboxes in,
 * unless the service was told to care for its own groups. Null where it does not; else what to do, in words.
 */
export async function oomPolicyNote(
  membership: Promise<string> = readFile("/proc/self/cgroup", "utf8"),
  ask: (args: string[]) => Promise<string> = async (args) =>
    (await execute("systemctl", args, { timeout: ASK_MS })).stdout,
): Promise<string | null> {
  const path = /^0::(.*)$/m.exec(await membership.catch(() => ""))?.[1] ?? ""
  const unit = /.*\/([^/]+\.(?:service|scope))(?:\/|$)/.exec(path)?.[1]
  if (unit === undefined) return null
  const manager = path.includes("/user@") && !unit.startsWith("user@") ? ["--user"] : []
  // No systemd that answers here, as in a container.
  const told = await ask([...manager, "show", "-p", "ControlGroup", "-p", "OOMPolicy", unit]).catch(() => "")
  const [, group] = /^ControlGroup=(\/.+)$/m.exec(told) ?? []
  const [, policy] = /^OOMPolicy=(stop|kill)$/m.exec(told) ?? []
  // Of a unit that it does not know it tells what would be its default.
  if (policy === undefined || group === undefined || !`${path}/`.startsWith(`${group}/`)) return null
  return `systemd ends the whole server as soon as one sandbox passes its memory limit (OOMPolicy=${policy}): set \`Delegate=yes\` in ${unit}`
}
