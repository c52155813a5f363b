import { readFileSync } from "node:fs"
import { readFile, readlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { SandboxSpec } from "../../driver.ts"
import { groupsOf } from "../cgroups.ts"
import { DENIED } from "../syscalls.ts"
import type { Workspaces } from "../workspace.ts"
import type { ContainerBody } from "./container.ts"
import type { Containers } from "./containers.ts"
import { NOT_HERE } from "./problems.ts"

/** What must hold for this to be called a sandbox; each is looked at from inside, or tried there. */
const MUST: Record<string, string> = {
  "own namespaces": "namespaces",
  "no new namespaces": "namespaces",
  "own user": "user of its own",
  "no network": "no network",
  "no capabilities": "no capabilities",
  "no new privileges": "no new privileges",
  seccomp: "seccomp",
  "own filter": "seccomp",
  "read-only system": "read-only system",
  "own processes only": "own processes only",
  "host hidden": "host files hidden",
  "clean environment": "clean environment",
  "own workspace": "own workspace",
  "no output to the daemon": "no output to the daemon",
  "open files limit": "open files limit",
}
/** Read from the container's control groups, where the kernel says what it has taken. */
const LIMITS = ["memory limit", "process limit", "cpu limit"]

/**
 * Runs inside, in plain shell, with the user, a system call of the filter's and the host's namespaces as arguments: writes
 * `ok NAME` for each that holds to a file in the workspace, and waits until it has been looked at from outside.
 */
const SCRIPT = `
user=$1; ptrace=$2; shift 2
say() { echo "ok $1" >> /work/.said; }
status=$(cat /proc/self/status)
field() { echo "$status" | grep "^$1:" | cut -f2; }
shared=
for host in "$@"; do [ "$(readlink "/proc/self/ns/\${host%%:*}")" != "$host" ] || shared="$shared $host"; done
[ $# = 6 ] && [ -z "$shared" ] && say "own namespaces"
unshare --user true 2>/dev/null || say "no new namespaces"
[ "$(id -u)" = "$user" ] && [ "$user" != 0 ] && [ "$(id -G | wc -w)" = 1 ] && say "own user"
[ "$(tail -n +3 /proc/net/dev | grep -vc ' *lo:')" = 0 ] && say "no network"
[ "$(field CapEff)$(field CapPrm)$(field CapBnd)$(field CapInh)$(field CapAmb)" = "$(printf '%080d' 0)" ] && say "no capabilities"
[ "$(field NoNewPrivs)" = 1 ] && say "no new privileges"
[ "$(field Seccomp)" = 2 ] && say seccomp
perl -e '$! = 0; exit(syscall($ARGV[0], 0, 0, 0, 0) < 0 && $! == 1 ? 0 : 1)' "$ptrace" && say "own filter"
writable=
for f in / /usr /usr/local /usr/local/bin /etc /dev /bin /run /run/autonomis /sys /proc/sys/kernel; do ( : > "$f/autonomis-probe" ) 2>/dev/null && writable="$writable $f"; done
( : > /proc/sys/kernel/core_pattern ) 2>/dev/null && writable="$writable core_pattern"
[ -z "$writable" ] && say "read-only system"
[ "$(ls -d /proc/[0-9]* | wc -l)" -lt 12 ] && say "own processes only"
[ ! -e /home ] && [ -z "$( (ls -A /root; ls -A /sys/fs/cgroup) 2>/dev/null)" ] && [ ! -e /sys/kernel ] && [ ! -e /etc/shadow ] && say "host hidden"
[ "$(env | grep -vc -e '^PATH=' -e '^PWD=' -e '^SHLVL=' -e '^_=' -e '^OLDPWD=' -e '^HOME=' -e '^HOSTNAME=sandbox$')" = 0 ] && say "clean environment"
[ "$(cat /work/.asked)" = autonomis ] && ( echo probe > /work/.probe && rm /work/.probe ) 2>/dev/null && say "own workspace"
[ "$(readlink /proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2 | sort -u)" = /dev/null ] && say "no output to the daemon"
[ "$(ulimit -n)" = 4096 ] && [ "$(ulimit -c)" = 0 ] && say "open files limit"
ls /usr/local/bin /usr/bin > /work/.programs
echo ready >> /work/.said
sleep 10
`

export interface ProbeResult {
  holds: string[]
  /** The names of those that commands find. */
  programs: ReadonlySet<string>
  problem: string | null
}

export interface ProbeTools {
  workspaces: Workspaces
  uid: number
  containers: Containers
  name: string
  bodyFor(spec: SandboxSpec, command: string[]): ContainerBody
}

export const SELF_TEST: SandboxSpec = {
  id: "self-test",
  userId: "self-test",
  hostUid: 899_999,
  limits: { memoryBytes: 256 * 1024 * 1024, cpus: 1, pids: 64, storageBytes: null },
  network: "none",
  readOnlyMounts: [],
}
const TIMEOUT_MS = 20_000
const EVERY_MS = 10

/** Starts a container like any other and looks at it from inside. */
export async function probe({ workspaces, uid, containers, name, bodyFor }: ProbeTools): Promise<ProbeResult> {
  await workspaces.prepare(SELF_TEST)
  const workspace = workspaces.path(SELF_TEST)
  try {
    await writeFile(join(workspace, ".asked"), "autonomis\n", { mode: 0o644 })
    const command = ["/bin/bash", "-c", SCRIPT, "self-test", String(uid), ptraceNumber(), ...(await hostNamespaces())]
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    await containers.remove(name)
    const { id, pid } = await containers.start(name, bodyFor(SELF_TEST, command), signal)
    try {
      const here = isSeen(pid, id)
      let over = false
      const gone = containers.gone(id).finally(() => {
        over = true
      })
      gone.catch(() => {})
      let said = ""
      while (!said.includes("ready\n") && !over && !signal.aborted) {
        await delay(EVERY_MS)
        said = await readFile(join(workspace, ".said"), "utf8").catch(() => "")
      }
      const programs = await readFile(join(workspace, ".programs"), "utf8").catch(() => "")
      return { ...judge(said, here ? groupsOf(pid).inForce() : null), programs: new Set(programs.split("\n")) }
    } finally {
      await containers.remove(id)
    }
  } finally {
    await workspaces.removeUser(SELF_TEST.userId, AbortSignal.timeout(TIMEOUT_MS))
  }
}

const ptraceNumber = () => {
  const [, x64, arm64] = DENIED.find(([call]) => call === "ptrace") ?? []
  return String(process.arch === "x64" ? x64 : arm64)
}

/** Ours, by their numbers: none of them may be the container's too. Its user namespace is the daemon's. */
const hostNamespaces = () =>
  Promise.all(["pid", "net", "ipc", "uts", "mnt", "cgroup"].map((name) => readlink(`/proc/self/ns/${name}`)))

/** Whether that process is the container's here too. */
function isSeen(pid: number, container: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(container)
  } catch {
    return false
  }
}

function judge(said: string, inForce: string[] | null): Omit<ProbeResult, "programs"> {
  const seen = new Set([...said.matchAll(/^ok (.+)$/gm)].map((match) => match[1] ?? ""))
  if (inForce === null) return { holds: [], problem: NOT_HERE }
  const holds = [
    ...new Set(Object.entries(MUST).flatMap(([name, title]) => (seen.has(name) ? [title] : []))),
    ...inForce,
    "disk watch",
  ]
  if (!said.includes("ready\n"))
    return {
      holds,
      problem: "no sandbox can be opened: its container ended before it could be looked at; see the server's log",
    }
  const missing = [
    ...Object.keys(MUST).filter((name) => !seen.has(name)),
    ...LIMITS.filter((limit) => !inForce.includes(limit)),
  ]
  return { holds, problem: missing.length === 0 ? null : `the sandbox does not hold here: ${missing.join(", ")}` }
}
