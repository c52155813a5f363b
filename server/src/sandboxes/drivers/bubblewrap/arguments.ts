import type { SandboxSpec } from "../../driver.ts"
import { CHANNEL_FD, NODE_FLAGS } from "../guest-process.ts"
import { INNER_UID } from "../inside.ts"
import type { HostView } from "./host-view.ts"
import type { SandboxSystem } from "./system.ts"

const MIB = 1024 * 1024

export interface BwrapOptions {
  view: HostView
  system: SandboxSystem
  workspace: string
  spec: Pick<SandboxSpec, "limits" | "readOnlyMounts" | "network">
  seccompFd: number
  /** The most processes, where no control group counts them; else null. */
  countPids: number | null
  /** What runs inside; the guest unless told. */
  command?: string[]
}

/** bubblewrap's arguments; the order of mounts matters, later ones lie on earlier ones. */
export function bwrapArguments({
  view,
  system,
  workspace,
  spec,
  seccompFd,
  countPids,
  ...rest
}: BwrapOptions): string[] {
  const guest = ["/usr/local/bin/node", ...NODE_FLAGS, "/usr/local/lib/guest.mjs", String(CHANNEL_FD), "/work"]
  if (spec.network === "egress") guest.push("proxy")
  const command = rest.command ?? guest
  // In memory, charged to the sandbox's limit.
  const scratchBytes = Math.min(512 * MIB, Math.floor(spec.limits.memoryBytes / 2))
  return [
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup",
    "--unshare-net",
    ...["--uid", String(INNER_UID), "--gid", String(INNER_UID), "--hostname", "sandbox"],
    "--disable-userns",
    "--assert-userns-disabled",
    ...["--ro-bind", "/usr", "/usr"],
    ...system.top.flatMap((top) =>
      "link" in top ? ["--symlink", top.link, top.name] : ["--ro-bind", top.folder, top.name],
    ),
    ...["--ro-bind", view.see(system.etc), "/etc"],
    ...["--ro-bind", view.see(system.local), "/usr/local"],
    ...["--ro-bind", view.see(system.node), "/usr/local/bin/node"],
    ...["--proc", "/proc", "--dev", "/dev"],
    ...["--perms", "1777", "--size", String(scratchBytes), "--tmpfs", "/dev/shm"],
    ...["--remount-ro", "/dev"],
    ...["--perms", "1777", "--size", String(scratchBytes), "--tmpfs", "/tmp"],
    ...["--dir", "/var", "--symlink", "../tmp", "/var/tmp", "--dir", "/run"],
    ...["--bind", view.see(workspace), "/work"],
    ...spec.readOnlyMounts.flatMap(({ source, target }) => ["--ro-bind", view.see(source), target]),
    ...["--remount-ro", "/"],
    ...["--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin"],
    ...["--cap-drop", "ALL", "--new-session", "--die-with-parent"],
    ...["--seccomp", String(seccompFd)],
    ...["--chdir", "/work"],
    "--",
    ...(countPids === null ? command : limitedBy(countPids, command)),
  ]
}

/**
 * Where no control group counts processes: from inside, where the kernel counts those of this user namespace alone.
 * Nothing in there can raise it again.
 */
const limitedBy = (pids: number, command: string[]): string[] => [
  "/bin/bash",
  "--norc",
  "-c",
  `ulimit -u ${pids} && exec "$@"`,
  "sandbox",
  ...command,
]

/**
 * What runs first, with the uid dropped already: closes what the server itself had inherited, moves into the control
 * groups through descriptors that the server opened, sets what `ulimit` can, and becomes bubblewrap.
 */
export function launcher(groups: number, largestFile: number | null, ulimits = true): string {
  const lastGroup = SECCOMP_FD + groups
  return [
    `for f in /proc/self/fd/*; do f=\${f##*/}; [ "$f" -le ${lastGroup} ] || exec {f}>&-; done`,
    ...Array.from(
      { length: groups },
      (_, i) => `echo 0 >&${SECCOMP_FD + 1 + i} || exit 90; exec ${SECCOMP_FD + 1 + i}>&-`,
    ),
    // No single file passes the whole workspace's limit; in units of 1 KiB.
    ulimits
      ? `ulimit -c 0 -n 4096${largestFile === null ? "" : ` -f ${Math.ceil(largestFile / 1024)}`} || exit 91`
      : "",
    'exec bwrap "$@"',
  ].join("\n")
}

export const SECCOMP_FD = CHANNEL_FD + 1
