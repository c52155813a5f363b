import { isIP } from "node:net"
import { canonicalAddress, type Lookup, lookupByDns } from "../../lib/address.ts"
import { AppError } from "../../lib/errors.ts"
import type { EgressPolicy } from "../driver.ts"

/** What every list must let through. Errors: `forbidden`, with why. */
export function requireAllowed(name: string, policies: readonly EgressPolicy[] | null): void {
  if (policies === null) throw new AppError("forbidden", "this agent has no network")
  const isNumber = isIP(name.replace(/^\[|\]$/g, "")) !== 0
  for (const { allow, deny } of policies) {
    if (deny.some((domain) => isBelow(name, domain))) throw new AppError("forbidden", `${name} is denied by policy`)
    // Whose name is denied could else be reached by its number.
    if (deny.length > 0 && isNumber)
      throw new AppError("forbidden", `${name} is an address: where domains are denied only names may be reached`)
    if (allow !== null && !allow.some((domain) => isBelow(name, domain)))
      throw new AppError("forbidden", `${name} is not allowed by policy`)
  }
}

const isBelow = (name: string, domain: string) => name === domain || name.endsWith(`.${domain}`)

export interface OwnNames {
  /** Errors: `forbidden` when the server itself is meant. */
  requireOther(name: string): void
  /** Addresses that the server's own names have now, beyond those of this machine's interfaces. */
  addresses(signal: AbortSignal): Promise<ReadonlySet<string>>
}

const BELIEVED_MS = 60_000
/** A name that did not resolve is asked for again sooner: until then its addresses are not known, and not refused. */
const DOUBTED_MS = 2_000

/**
 * The names and addresses under which the server itself is reached (its public URL's may be a load balancer's): none of
 * them is for sandboxes. Looked up once a minute, or soon after a failure; a name that does not resolve now keeps what it had.
 */
export function ownNames(
  own: () => readonly string[],
  lookup: Lookup = lookupByDns,
  now: () => number = () => performance.now(),
): OwnNames {
  const plain = () =>
    own().map((name) =>
      name
        .toLowerCase()
        .replace(/\.$/, "")
        .replace(/^\[|\]$/g, ""),
    )
  const last = new Map<string, string[]>()
  let known: { until: number; names: string; addresses: Promise<ReadonlySet<string>> } | null = null

  async function addressesOf(name: string, signal: AbortSignal): Promise<string[]> {
    if (isIP(name)) return [name]
    // A name without a dot is no name of the internet, and a request for it would go to strangers.
    if (!name.includes(".")) return []
    const found = await lookup(name, signal).catch(() => {
      if (known !== null) known.until = Math.min(known.until, now() + DOUBTED_MS)
      return last.get(name) ?? []
    })
    last.set(name, found)
    return found
  }

  async function look(names: string[], signal: AbortSignal): Promise<ReadonlySet<string>> {
    const found = await Promise.all(names.map((name) => addressesOf(name, signal)))
    return new Set(found.flat().flatMap((address) => canonicalAddress(address) ?? []))
  }

  return {
    requireOther(name) {
      if (plain().includes(name.replace(/^\[|\]$/g, "")))
        throw new AppError("forbidden", `${name} is this server itself`)
    },
    addresses(signal) {
      const names = plain()
      if (known === null || known.names !== names.join() || now() > known.until)
        known = { until: now() + BELIEVED_MS, names: names.join(), addresses: look(names, signal) }
      return known.addresses
    },
  }
}
