import { createHash } from "node:crypto"
import type { SandboxSpec } from "../../driver.ts"
import { NODE_FLAGS } from "../guest-process.ts"
import { CHANNEL_INSIDE, CHANNEL_SOCKET } from "./channel.ts"
import { IMAGE } from "./image.ts"

const MIB = 1024 * 1024
const GUEST_INSIDE = "/usr/local/lib/guest.mjs"

/** Labels by which a server knows its own containers, and what they were made for. */
export const LABEL = {
  instance: "autonomis.instance",
  agent: "autonomis.agent",
  spec: "autonomis.spec",
} as const

export interface ContainerParts {
  spec: Pick<SandboxSpec, "limits" | "readOnlyMounts" | "network">
  /** `uid:gid`. */
  user: string
  seccomp: string
  /** Paths on the host. */
  node: string
  guest: string
  /** Of the guest program: another version needs another container. */
  guestHash: string
  workspace: string
  /** The control group that its own is put into; null: the daemon's. */
  parent: string | null
  /** Null: it speaks with nobody. */
  channelFolder: string | null
  /** What runs inside; the guest unless told. */
  command?: string[]
}

export interface ContainerBody {
  Labels: Record<string, string>
  HostConfig: { SecurityOpt: string[]; [name: string]: unknown }
  [name: string]: unknown
}

/**
 * The first process: takes in what background processes leave behind when they end, and lets go of the output that the
 * daemon reads and that no limit counts, before anything of the tenant's could write to it.
 */
const FIRST = ["/bin/bash", "--norc", "-c", 'exec < /dev/null > /dev/null 2>&1; "$@" & wait $!', "sandbox"]

/** The body of Docker's `POST /containers/create`. */
export function containerFor(parts: ContainerParts, labels: Record<string, string>): ContainerBody {
  const { spec, user, channelFolder } = parts
  const { memoryBytes, cpus, pids, storageBytes } = spec.limits
  // In memory, charged to the container's limit.
  const scratchBytes = Math.min(512 * MIB, Math.floor(memoryBytes / 2))
  const guest = ["/usr/local/bin/node", ...NODE_FLAGS, GUEST_INSIDE, CHANNEL_SOCKET, "/work"]
  if (spec.network === "egress") guest.push("proxy")
  const readOnly = (source: string, target: string) => ({ ...bind(source, target), ReadOnly: true })
  const body = {
    Image: IMAGE,
    Cmd: [...FIRST, ...(parts.command ?? guest)],
    User: user,
    WorkingDir: "/work",
    Hostname: "sandbox",
    NetworkDisabled: true,
    HostConfig: {
      Init: false,
      NetworkMode: "none",
      IpcMode: "private",
      CgroupnsMode: "private",
      ...(parts.parent === null ? {} : { CgroupParent: parts.parent }),
      Privileged: false,
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges:true", `seccomp=${parts.seccomp}`],
      Memory: memoryBytes,
      // Memory and swap together: no swap.
      MemorySwap: memoryBytes,
      NanoCpus: nanoCpus(cpus),
      PidsLimit: pids,
      Ulimits: [
        ulimit("nofile", 4096),
        ulimit("core", 0),
        ...(storageBytes === null ? [] : [ulimit("fsize", storageBytes)]),
      ],
      ShmSize: scratchBytes,
      Tmpfs: {
        "/tmp": `rw,exec,nosuid,nodev,mode=1777,size=${scratchBytes}`,
        // Nothing of the kernel's own files: neither its settings nor the control groups.
        "/sys": "ro,noexec,nosuid,nodev,mode=0555,size=4k",
        "/sys/fs/cgroup": "ro,noexec,nosuid,nodev,mode=0555,size=4k",
      },
      Mounts: [
        bind(parts.workspace, "/work"),
        readOnly(parts.node, "/usr/local/bin/node"),
        readOnly(parts.guest, GUEST_INSIDE),
        ...(channelFolder === null ? [] : [readOnly(channelFolder, CHANNEL_INSIDE)]),
        ...spec.readOnlyMounts.map(({ source, target }) => readOnly(source, target)),
      ],
      LogConfig: { Type: "none" },
      RestartPolicy: { Name: "no" },
    },
  }
  const spoken = JSON.stringify([body, parts.guestHash])
  return { ...body, Labels: { ...labels, [LABEL.spec]: createHash("sha256").update(spoken).digest("hex") } }
}

export const nanoCpus = (cpus: number) => Math.round(cpus * 1e9)
const bind = (source: string, target: string) => ({ Type: "bind", Source: source, Target: target })
const ulimit = (name: string, value: number) => ({ Name: name, Soft: value, Hard: value })
