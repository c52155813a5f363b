import { connect, type Socket } from "node:net"
import { canonicalAddress, isPublicAddress, type Lookup, resolvePublic } from "../../lib/address.ts"
import { AppError, messageOf } from "../../lib/errors.ts"
import type { Logger } from "../../lib/log.ts"
import type { EgressPolicy } from "../driver.ts"
import type { EgressJournal, EgressOwner } from "./journal.ts"
import { ownNames, requireAllowed } from "./judge.ts"

export interface ReachOptions {
  log: Logger
  /** Ports that may be reached; 80 and 443 unless told. */
  ports?: number[]
  /**
   * The lists that a sandbox's destinations must pass, all of them; null: it may not go out. Asked at each connection,
   * and every few seconds for those that are open. Everything public unless told.
   */
  policies?: (owner: EgressOwner) => Promise<EgressPolicy[] | null>
  /** Names and addresses under which the server itself is reached, beside those of this machine's interfaces. */
  own?: () => string[]
  /** How often open connections are judged again; 5 seconds. */
  judgeEveryMs?: number
  /** How long a name and a connection may take together; 15 seconds. */
  connectMs?: number
  /** For tests that play the internet. */
  lookup?: Lookup
  isAllowed?: (ip: string) => boolean
}

/** Connections outwards: judged before they are made, and again while they are open. */
export interface Reach extends AsyncDisposable {
  /**
   * Judges a destination and connects to the judged address; nothing is looked up a second time.
   * Errors: `forbidden` with why, `failed_dependency` when it cannot be reached.
   */
  connect(owner: EgressOwner, host: string, port: number): Promise<Socket>
}

interface Connection {
  owner: EgressOwner
  socket: Socket
  name: string
  destination: string
  address: string
  /** Of its bytes, those that were told already. */
  told: { out: number; in: number }
}

const CONNECT_MS = 15_000
const IDLE_MS = 120_000
const JUDGE_MS = 5_000

export function createReach(options: ReachOptions, journal: EgressJournal): Reach {
  const { log, ports = [80, 443], policies = async () => [], lookup, isAllowed = isPublicAddress } = options
  const own = ownNames(options.own ?? (() => []), lookup)
  const connections = new Set<Connection>()
  let judging: Promise<void> | null = null
  const timer = setInterval(() => {
    judging ??= judgeAgain().finally(() => {
      judging = null
    })
  }, options.judgeEveryMs ?? JUDGE_MS).unref()

  function tell({ owner, socket, destination, address, told }: Connection): void {
    const [out, back] = [socket.bytesWritten - told.out, socket.bytesRead - told.in]
    if (out === 0 && back === 0) return
    told.out += out
    told.in += back
    journal.moved(owner, destination, address, { out, in: back })
  }

  /** A change of the lists counts for what is open too. */
  async function judgeAgain(): Promise<void> {
    for (const ofOne of Map.groupBy(connections, ({ owner }) => owner.id).values()) {
      const owner = ofOne[0]?.owner
      if (owner === undefined) continue
      try {
        const now = await policies(owner)
        for (const connection of ofOne) judge(connection, now)
      } catch (error) {
        log.warn("a sandbox's open connections could not be judged", { agent: owner.id, error: messageOf(error) })
      }
    }
  }

  function judge(connection: Connection, now: EgressPolicy[] | null): void {
    tell(connection)
    try {
      requireAllowed(connection.name, now)
    } catch (error) {
      journal.refused(connection.owner, connection.destination, `${messageOf(error)}; the connection was cut`)
      connection.socket.destroy()
    }
  }

  return {
    async connect(owner, host, port) {
      // The one spelling that lists are compared with: a resolver would take further dots, and lead to the same host.
      const name = host.toLowerCase().replace(/\.+$/, "")
      if (!ports.includes(port))
        throw new AppError("forbidden", `port ${port} may not be reached (allowed: ${ports.join(", ")})`)
      own.requireOther(name)
      requireAllowed(name, await policies(owner))
      const signal = AbortSignal.timeout(options.connectMs ?? CONNECT_MS)
      const ours = await own.addresses(signal)
      const { address, family } = await resolvePublic(name, {
        signal,
        isAllowed: (ip) => isAllowed(ip) && !ours.has(canonicalAddress(ip) ?? ip),
        ...(lookup === undefined ? {} : { lookup }),
      })
      const socket = await connected(connect({ host: address, port, family, autoSelectFamily: false }), signal).catch(
        (cause) => {
          throw new AppError("failed_dependency", `${name}:${port} could not be reached`, { cause })
        },
      )
      socket.setTimeout(IDLE_MS, () => socket.destroy())
      const destination = `${host}:${port}`
      const connection = { owner, socket, name, destination, address, told: { out: 0, in: 0 } }
      connections.add(connection)
      journal.connected(owner, destination, address)
      socket.once("close", () => {
        connections.delete(connection)
        tell(connection)
      })
      return socket
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await judging
      for (const connection of connections) {
        tell(connection)
        connection.socket.destroy()
      }
    },
  }
}

/** The same socket once it is connected; the signal counts until then, and not for what comes after. */
async function connected(socket: Socket, signal: AbortSignal): Promise<Socket> {
  const late = () => socket.destroy(new Error("no connection in time"))
  signal.addEventListener("abort", late, { once: true })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve)
      socket.once("error", reject)
      socket.once("close", () => reject(new Error("closed")))
    })
    return socket
  } finally {
    signal.removeEventListener("abort", late)
  }
}
