import type { GuestStream, SandboxDriver, SandboxId } from "../driver.ts"
import type { Workspaces } from "./workspace.ts"

export interface RunningGuest extends GuestStream {
  /** Ends it and waits until it is gone. Idempotent. */
  stop(): Promise<void>
}

/** The guests that a driver has open, one for each agent at most, and the verbs that follow from having them. */
export interface Running<Guest extends RunningGuest> {
  /** The one that is open or being opened; else what `start` makes. */
  open(id: SandboxId, start: () => Promise<Guest>): Promise<Guest>
  verbs: Pick<SandboxDriver, "stop" | "destroy" | "list" | "files">
  stopAll(): Promise<void>
}

export function createRunning<Guest extends RunningGuest>(workspaces: Workspaces): Running<Guest> {
  const guests = new Map<SandboxId, Guest>()
  const opening = new Map<SandboxId, Promise<Guest>>()

  async function begin(id: SandboxId, start: () => Promise<Guest>): Promise<Guest> {
    const guest = await start()
    guests.set(id, guest)
    void guest.ended.then(() => {
      if (guests.get(id) === guest) guests.delete(id)
    })
    return guest
  }

  async function stop(id: SandboxId): Promise<void> {
    await opening.get(id)?.catch(() => {})
    await guests.get(id)?.stop()
  }

  return {
    async open(id, start) {
      const there = guests.get(id) ?? opening.get(id)
      if (there !== undefined) return there
      const begun = begin(id, start).finally(() => opening.delete(id))
      opening.set(id, begun)
      return begun
    },
    verbs: {
      stop,
      async destroy(owner, signal) {
        await stop(owner.id)
        await workspaces.remove(owner, signal)
      },
      list: async () => [...guests.keys()].map((id) => ({ id, running: true })),
      files: (owner) => workspaces.files(owner),
    },
    async stopAll() {
      await Promise.all([...guests.keys(), ...opening.keys()].map(stop))
    },
  }
}
