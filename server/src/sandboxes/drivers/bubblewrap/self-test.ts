import { readlink } from "node:fs/promises"
import type { SandboxSpec } from "../../driver.ts"
import type { OpenWorkspace, Workspaces } from "../workspace.ts"
import type { Ground, Started } from "./bubblewrap.ts"

export const MISSING =
  "agents cannot run commands: bubblewrap is not installed; install it with `apt-get install bubblewrap`"

/** What must hold for this to be called a sandbox; each is looked at from inside, or tried there. */
const MUST: Record<string, string> = {
  "own namespaces": "namespaces",
  "no new namespaces": "namespaces",
  "no network": "no network",
  "no capabilities": "no capabilities",
  "no new privileges": "no new privileges",
  seccomp: "seccomp",
  "read-only system": "read-only system",
  "own processes only": "own processes only",
  "host hidden": "host files hidden",
  "clean environment": "clean environment",
  "own workspace": "own workspace",
}

/** Runs inside, in plain shell: prints `ok NAME` for each that holds. It tries what it can rather than reading about it. */
const SCRIPT = `
say() { echo "ok $1" >&3; }
status=$(cat /proc/self/status)
field() { echo "$status" | grep "^$1:" | cut -f2; }
shared=
for host in "$@"; do [ "$(readlink "/proc/self/ns/\${host%%:*}")" != "$host" ] || shared="$shared $host"; done
[ "$(id -u)" = 10001 ] && [ $# = 7 ] && [ -z "$shared" ] && say "own namespaces"
unshare --user true 2>/dev/null || say "no new namespaces"
[ -z "$(ls /sys/class/net 2>/dev/null)" ] && [ "$(tail -n +3 /proc/net/dev | grep -vc ' *lo:')" = 0 ] && say "no network"
[ "$(field CapEff)$(field CapPrm)$(field CapBnd)$(field CapInh)$(field CapAmb)" = "$(printf '%080d' 0)" ] && say "no capabilities"
[ "$(field NoNewPrivs)" = 1 ] && say "no new privileges"
[ "$(field Seccomp)" = 2 ] && say seccomp
writable=
for f in / /usr /usr/local /usr/local/bin /etc /dev /bin /proc/sys/kernel; do ( : > "$f/autonomis-probe" ) 2>/dev/null && writable="$writable $f"; done
( : > /proc/sys/kernel/core_pattern ) 2>/dev/null && writable="$writable core_pattern"
[ -z "$writable" ] && say "read-only system"
[ "$(ls -d /proc/[0-9]* | wc -l)" -lt 12 ] && say "own processes only"
{ [ ! -e /root ] || [ -z "$(ls -A /root 2>/dev/null)" ]; } && [ ! -e /home ] && [ ! -e /sys ] && [ ! -e /etc/shadow ] && say "host hidden"
[ "$(env | grep -vc -e '^PATH=' -e '^PWD=' -e '^SHLVL=' -e '^_=' -e '^OLDPWD=')" = 0 ] && say "clean environment"
( echo probe > /work/.autonomis-probe && rm /work/.autonomis-probe ) 2>/dev/null && say "own workspace"
[ "$(ulimit -u)" = 64 ] && say "process limit"
[ "$(ulimit -n)" = 4096 ] && say "open files limit"
echo "ready" >&3
read -r -t 10 _ <&3
`

/** A file system of its plan's size for each user; or commands are ended once they have passed it. */
export const DISK_QUOTA = "disk quota (images)"
export const DISK_WATCH = "disk watch"

export interface ProbeResult {
  holds: string[]
  /** What does not hold here but is no wall of its own, with the reason. */
  notes: string[]
  problem: string | null
}

export interface ProbeTools {
  ownUids: boolean
  workspaces: Workspaces
  start(spec: SandboxSpec, workspace: OpenWorkspace, command: string[]): Started
}

/** The uid that self-tests run with; agents get theirs from a range above. */
const PROBE_UID = 899_999
const TIMEOUT_MS = 15_000

/** Opens a sandbox like any other and looks at it from inside. */
export async function probe(
  { cgroups, noImages }: Ground,
  { ownUids, workspaces, start }: ProbeTools,
): Promise<ProbeResult> {
  const spec: SandboxSpec = {
    id: "self-test",
    userId: "self-test",
    hostUid: PROBE_UID,
    limits: { memoryBytes: 256 * 1024 * 1024, cpus: 1, pids: 64, storageBytes: null },
    network: "none",
    readOnlyMounts: [],
  }
  const workspace = await workspaces.open(spec, null)
  try {
    const guest = start(spec, workspace, ["/bin/bash", "-c", SCRIPT, "self-test", ...(await hostNamespaces())])
    let output = ""
    let limits: string[] = []
    guest.stream.on("data", (chunk: Buffer) => {
      output = (output + chunk).slice(-4_096)
      if (!output.includes("ready\n")) return
      limits = guest.limitsInForce()
      void guest.stop()
    })
    const late = setTimeout(() => void guest.stop(), TIMEOUT_MS)
    const why = await guest.ended
    clearTimeout(late)
    const result = judge(output, why, ownUids, cgroups?.holds ?? [], limits)
    if (result.holds.length > 0) result.holds.push(noImages === null ? DISK_QUOTA : DISK_WATCH)
    if (noImages !== null)
      result.notes.push(
        `no exact disk quota here (${noImages}): commands are ended within about a second of passing their storage`,
      )
    return result
  } finally {
    await workspaces.removeUser(spec.userId, AbortSignal.timeout(TIMEOUT_MS))
  }
}

/** Ours, by their numbers: none of them may be the sandbox's too. */
const hostNamespaces = () =>
  Promise.all(["user", "pid", "net", "ipc", "uts", "mnt", "cgroup"].map((name) => readlink(`/proc/self/ns/${name}`)))

function judge(output: string, why: string, ownUids: boolean, promised: string[], inForce: string[]): ProbeResult {
  const seen = new Set([...output.matchAll(/^ok (.+)$/gm)].map((match) => match[1] ?? ""))
  const missing = [
    ...Object.keys(MUST).filter((name) => !seen.has(name)),
    ...promised.filter((limit) => !inForce.includes(limit)),
  ]
  const holds = [...new Set(Object.entries(MUST).flatMap(([name, title]) => (seen.has(name) ? [title] : [])))]
  if (ownUids) holds.push("own uid for each agent")
  const byUlimit = ["process limit", "open files limit"].filter((limit) => seen.has(limit))
  holds.push(...new Set([...inForce, ...byUlimit]))
  const notes = notesOn(inForce)
  if (seen.size === 0) return { holds: [], notes, problem: `no sandbox can be opened (${why}); ${cureFor(why)}` }
  return {
    holds,
    notes,
    problem: missing.length === 0 ? null : `the sandbox does not hold here: ${missing.join(", ")}`,
  }
}

/** What of an operator's host does not hold, by the limits that do. */
export function notesOn(inForce: string[]): string[] {
  const cure = "a service of systemd needs `Delegate=yes`"
  if (!inForce.includes("memory limit"))
    return [
      `no control groups can be written here: memory and CPU of a sandbox are not limited, processes and open files are (ulimit); ${cure}`,
    ]
  if (inForce.includes("cpu limit")) return []
  return [`no control group holds the processor here: it is neither limited nor shared by users; ${cure}`]
}

function cureFor(why: string): string {
  if (/mount proc/i.test(why))
    return "parts of `/proc` are hidden in this container: start it with `--security-opt systempaths=unconfined`"
  if (/No permissions|Operation not permitted|ENOSPC|No space left|unshare|namespace|uid map/i.test(why))
    return "allow user namespaces (`sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000`, on Ubuntu also `kernel.apparmor_restrict_unprivileged_userns=0`), or in a container start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`"
  return "the server's log has more"
}
