import { createHash } from "node:crypto"
import { accessSync, constants, openSync } from "node:fs"
import { chmod, mkdir } from "node:fs/promises"
import { delimiter, join } from "node:path"
import { AppError, messageOf } from "../../../lib/errors.ts"
import type { Logger } from "../../../lib/log.ts"
import type { DriverReport, SandboxDriver, SandboxSpec } from "../../driver.ts"
import { type Cgroups, closeAll, openCgroups } from "../cgroups.ts"
import { createDiskImages, type DiskImages, tryDiskImage } from "../disk-images.ts"
import { type GuestProcess, startGuestProcess } from "../guest-process.ts"
import { signalCommands } from "../process-tree.ts"
import { createRunning } from "../running.ts"
import { createWorkspaces, type OpenWorkspace } from "../workspace.ts"
import { bwrapArguments, launcher, SECCOMP_FD } from "./arguments.ts"
import { type HostView, type HostViewOptions, openHostView } from "./host-view.ts"
import { oomPolicyNote } from "./oom-policy.ts"
import { MISSING, probe } from "./self-test.ts"
import { buildSystem, type SandboxSystem } from "./system.ts"

export interface BubblewrapOptions {
  dataDir: string
  log: Logger
  /** For tests: replaces what is looked for in the path. */
  isInstalled?: () => boolean
  /** `image`: no sandbox where there can be no file system for each user; `watch`: none is tried; else the best. */
  diskQuota?: "image" | "watch" | null
  /** For tests: how long a file system stays mounted that nobody uses. */
  lingerMs?: number | undefined
  /** What a user may store; null: without limit. */
  storageBytes?: ((userId: string) => Promise<number | null>) | undefined
  /** May install what is missing; tool calls wait for it as they wait for the test. */
  beforeTest?: (() => Promise<void>) | undefined
  /** For the tests that take a boundary away, to see that its absence is noticed. */
  weakened?: Weakened
}

export interface Weakened {
  /** Changes bubblewrap's arguments. */
  rewrite?: (argv: string[]) => string[]
  sameUid?: boolean
  noControlGroups?: boolean
  noUlimits?: boolean
  /** Opens sandboxes although the self-test refuses them. */
  openAnyway?: boolean
}

export interface Started extends GuestProcess {
  /** Limits that the kernel has taken, with the sandbox's processes under them. */
  limitsInForce(): string[]
}

/** What is made once, before the first sandbox. */
export interface Ground {
  system: SandboxSystem
  view: HostView
  cgroups: Cgroups | null
  /** Null where none can be mounted. */
  images: DiskImages | null
  /** Why no user is given one, in words; null: they are. */
  noImages: string | null
}

const ENV = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" }

/** Namespaces, a seccomp filter and control groups by bubblewrap; as root an own uid for each agent. */
export function createBubblewrapDriver(options: BubblewrapOptions): SandboxDriver {
  const { dataDir, log, isInstalled = bubblewrapInstalled, weakened = {}, diskQuota = null } = options
  const ownUids = process.getuid?.() === 0 && weakened.sameUid !== true
  const disks = async () => {
    ground ??= prepareGround()
    // What stands in the way of sandboxes need not stand in the way of files.
    return (await ground.catch(() => null))?.images ?? null
  }
  const workspaces = createWorkspaces({ dataDir, ownUids, disks, storageBytes: options.storageBytes })
  const running = createRunning(workspaces)
  let ground: Promise<Ground> | null = null
  let report: Promise<DriverReport> | null = null

  async function prepareGround(): Promise<Ground> {
    const system = await buildSystem(join(dataDir, "sandbox"))
    const users = join(dataDir, "users")
    await mkdir(users, { recursive: true })
    await chmod(users, 0o711)
    const seen: HostViewOptions = { needed: [users, system.etc, system.local, system.node], ownUids }
    const view = await openHostView({ ...seen, mounts: ownUids })
    // Made anew with the next opening; sandboxes that are open go on.
    void view.ended.then(() => {
      ground = null
      report = null
    })
    const name = `autonomis-${createHash("sha256").update(dataDir).digest("hex").slice(0, 12)}`
    const cgroups = weakened.noControlGroups ? null : openCgroups({ name })
    await cgroups?.sweep()
    return { system, view, cgroups, ...(await prepareImages(view, cgroups, users)) }
  }

  async function prepareImages(
    { place }: HostView,
    cgroups: Cgroups | null,
    users: string,
  ): Promise<Pick<Ground, "images" | "noImages">> {
    if (place === null) return { images: null, noImages: ownUids ? "mounts are forbidden" : "only root can mount" }
    const { lingerMs } = options
    const make = diskQuota !== "watch"
    const noImages = make ? await tryDiskImage(join(dataDir, "sandbox"), place) : "AUTONOMIS_DISK_QUOTA is watch"
    // Those that there are from before are used all the same.
    const pace = cgroups?.paceDisk
    const images = make && noImages !== null ? null : createDiskImages({ users, place, log, make, lingerMs, pace })
    return { images, noImages }
  }

  function start(
    spec: SandboxSpec,
    workspace: OpenWorkspace,
    { system, view, cgroups }: Ground,
    command?: string[],
  ): Started {
    const group = cgroups?.create(spec) ?? null
    const fds = [openSync(system.seccomp, "r"), ...(group?.openProcs() ?? [])]
    try {
      const script = launcher(fds.length - 1, spec.limits.storageBytes, weakened.noUlimits !== true)
      const countPids = cgroups?.holds.includes("process limit") ? null : spec.limits.pids
      const rewrite = weakened.rewrite ?? ((argv) => argv)
      const inner = rewrite(
        bwrapArguments({
          view,
          system,
          workspace: workspace.inside,
          spec,
          seccompFd: SECCOMP_FD,
          countPids,
          ...(command ? { command } : {}),
        }),
      )
      const entered = view.enter(
        ["/bin/bash", "--norc", "--noprofile", "-c", script, "sandbox", ...inner],
        ownUids ? spec.hostUid : null,
      )
      const counted = () => group?.hits() ?? { memory: 0, pids: 0 }
      // What was told for a command already is not the reason of a later end.
      let told = 0
      const hits = () => {
        const now = counted()
        told = now.memory
        return now
      }
      const guest = startGuestProcess({
        ...entered,
        cwd: "/",
        env: ENV,
        fds,
        explain: (end) => explainEnd(end, counted().memory > told, spec.limits.memoryBytes),
      })
      const ended = guest.ended.then(async (why) => {
        await group?.remove()
        workspace.release()
        return why
      })
      return {
        ...guest,
        host: {
          workspace: workspace.path,
          disk: workspace.disk,
          signalCommands: (signal) => signalCommands(guest.pid ?? 0, signal),
        },
        limitsInForce: () => group?.inForce() ?? [],
        ended,
        hits,
        stop: () =>
          guest
            .stop()
            .then(() => ended)
            .then(() => {}),
      }
    } finally {
      closeAll(fds)
    }
  }

  async function test(): Promise<DriverReport> {
    await options.beforeTest?.()
    if (!isInstalled()) return { driver: "bubblewrap", usable: false, holds: [], problem: MISSING }
    try {
      ground ??= prepareGround()
      const made = await ground
      const result = await probe(made, {
        ...{ ownUids, workspaces },
        start: (spec, workspace, command) => start(spec, workspace, made, command),
      })
      const policy = made.cgroups?.version === "v2" ? await oomPolicyNote() : null
      if (policy !== null) log.warn(policy)
      if (diskQuota === "image" && made.noImages !== null)
        result.problem ??= `AUTONOMIS_DISK_QUOTA is image, but there can be none here: ${made.noImages}`
      if (result.problem === null) log.info("sandbox self-test passed", { holds: result.holds, notes: result.notes })
      else log.error("sandbox self-test failed", { problem: result.problem, holds: result.holds })
      return { driver: "bubblewrap", usable: result.problem === null, holds: result.holds, problem: result.problem }
    } catch (error) {
      ground = null
      log.error("the sandbox could not be tried", { error })
      return {
        driver: "bubblewrap",
        usable: false,
        holds: [],
        problem: `no sandbox can be opened: ${messageOf(error)}`,
      }
    }
  }

  const driver: SandboxDriver = {
    name: "bubblewrap",
    capabilities: { memoryLimit: true, networkPolicy: true, diskQuota: false, hostFiles: true },
    selfTest(_signal, again = false) {
      if (report === null || again) report = test()
      return report
    },
    open: (spec, signal) =>
      running.open(spec.id, async () => {
        const first = await driver.selfTest(signal)
        // Installed since it was looked for: no restart is needed.
        const { usable, problem } =
          first.problem === MISSING && isInstalled() ? await driver.selfTest(signal, true) : first
        if ((!usable && weakened.openAnyway !== true) || ground === null)
          throw new AppError("sandbox_unavailable", problem ?? "no sandbox can be opened")
        const made = await ground
        const workspace = await workspaces.open(spec, spec.limits.storageBytes)
        try {
          signal.throwIfAborted()
          return start(spec, workspace, made)
        } catch (error) {
          workspace.release()
          throw error
        }
      }),
    ...running.verbs,
    leaveUser: (userId) => workspaces.leaveUser(userId),
    async [Symbol.asyncDispose]() {
      await running.stopAll()
      const made = await ground?.catch(() => null)
      await made?.images?.[Symbol.asyncDispose]()
      await made?.view[Symbol.asyncDispose]()
      await made?.cgroups?.[Symbol.asyncDispose]()
    },
  }
  return driver
}

function explainEnd(
  end: { code: number | null; signal: NodeJS.Signals | null; stderr: string },
  memory: boolean,
  limit: number,
): string {
  const status = end.signal === null ? `exited with ${end.code}` : `killed by ${end.signal}`
  if (memory && (end.signal === "SIGKILL" || end.code === 137)) return `killed: memory limit ${inGib(limit)}`
  const complaint = end.stderr.split("\n").find((line) => line.startsWith("bwrap:"))
  return complaint === undefined ? status : `${status}: ${complaint}`
}

export const inGib = (bytes: number): string => `${Number((bytes / 1024 ** 3).toFixed(2))} GiB`

/** Whether there is a `bwrap` to run. */
export function bubblewrapInstalled(): boolean {
  return ENV.PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, "bwrap"), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
