import { Resolver } from "node:dns/promises"
import { networkInterfaces } from "node:os"
import ipaddr from "ipaddr.js"
import { AppError } from "./errors.ts"

export interface JudgedAddress {
  address: string
  family: 4 | 6
}

/** Names to addresses; a test hands in its own. */
export type Lookup = (hostname: string, signal: AbortSignal) => Promise<string[]>

export interface ResolveOptions {
  signal?: AbortSignal
  lookup?: Lookup
  /** Replaces `isPublicAddress`; for tests that play the internet inside a network namespace. */
  isAllowed?: (ip: string) => boolean
}

/** Public by their numbers, but answered by the host's own cloud (Azure's wire server, Oracle's and Alibaba's metadata). */
const CLOUD_INTERNAL = new Set(["168.63.129.16", "192.0.0.192", "100.100.100.200"])

const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR("2000::/3")

/**
 * Whether a tenant may make the server connect to this address: global unicast in its plain spelling, and none of this
 * machine's own. False for everything else: loopback, private, link-local, metadata, multicast, carrier-grade NAT,
 * documentation, mapped, translated and tunnelled addresses, and what is no address at all (`127.1`, `0x7f000001`).
 */
export function isPublicAddress(ip: string): boolean {
  const parsed = parseStrict(ip)
  if (parsed === null || parsed.range() !== "unicast") return false
  if (parsed instanceof ipaddr.IPv6 && !parsed.match(GLOBAL_UNICAST)) return false
  const plain = parsed.toString()
  return !CLOUD_INTERNAL.has(plain) && !ownAddresses().has(plain)
}

/**
 * Resolves a name once and gives one judged address; the caller connects to that address and never resolves again,
 * so that a name which changes its answer gains nothing. `hostname` may be an address in its plain spelling
 * (IPv6 with or without brackets).
 * Errors: `forbidden`, in one sentence for a name that does not resolve and one that leads to an address which may not
 * be reached: who asks must not learn what names there are inside.
 */
export async function resolvePublic(hostname: string, options: ResolveOptions = {}): Promise<JudgedAddress> {
  const { signal = AbortSignal.timeout(10_000), lookup = lookupByDns, isAllowed = isPublicAddress } = options
  const name = hostname.startsWith("[") && hostname.endsWith("]") ? hostname.slice(1, -1) : hostname
  const candidates = looksNumeric(name) ? [name] : await lookUp(name, lookup, signal)
  for (const address of candidates) {
    const parsed = parseStrict(address)
    if (parsed !== null && isAllowed(address)) return { address, family: parsed.kind() === "ipv6" ? 6 : 4 }
  }
  throw notPublic(hostname)
}

const notPublic = (hostname: string): AppError =>
  new AppError("forbidden", `${shown(hostname)} is not a public address or does not resolve`)

async function lookUp(name: string, lookup: Lookup, signal: AbortSignal): Promise<string[]> {
  if (!/^(?=.{1,253}\.?$)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?$/i.test(name)) {
    throw new AppError("forbidden", `${shown(name)} is not a host name`)
  }
  try {
    return await lookup(name, signal)
  } catch {
    signal.throwIfAborted()
    throw notPublic(name)
  }
}

/** Not `dns.lookup`: that one takes a thread of the pool which files need too, for as long as a slow name server likes. */
export async function lookupByDns(hostname: string, signal: AbortSignal): Promise<string[]> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 })
  const cancel = () => resolver.cancel()
  signal.addEventListener("abort", cancel, { once: true })
  try {
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)])
    const found = [...(v4.status === "fulfilled" ? v4.value : []), ...(v6.status === "fulfilled" ? v6.value : [])]
    if (found.length === 0) throw v4.status === "rejected" ? v4.reason : new Error("no address")
    return found
  } finally {
    signal.removeEventListener("abort", cancel)
  }
}

/** Four decimal parts without leading zeros, or IPv6 without a zone; anything that only some parsers read is null. */
function parseStrict(ip: string): ipaddr.IPv4 | ipaddr.IPv6 | null {
  if (/^(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}$/.test(ip))
    return ipaddr.IPv4.isValid(ip) ? ipaddr.IPv4.parse(ip) : null
  return ip.includes(":") && !ip.includes("%") && ipaddr.IPv6.isValid(ip) ? ipaddr.IPv6.parse(ip) : null
}

/** The one spelling that addresses are compared in; null for what is none in its plain spelling. */
export const canonicalAddress = (ip: string): string | null => parseStrict(ip)?.toString() ?? null

/** What a resolver might read as an address: it is judged as one and never looked up as a name. */
function looksNumeric(name: string): boolean {
  if (name.includes(":")) return true
  const last = name.replace(/\.$/, "").split(".").at(-1) ?? ""
  return /^(?:\d+|0x[0-9a-f]*)$/i.test(last)
}

function ownAddresses(): Set<string> {
  const own = new Set<string>()
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address } of addresses ?? []) {
      const parsed = parseStrict(address.split("%")[0] ?? "")
      if (parsed !== null) own.add(parsed.toString())
    }
  }
  return own
}

const shown = (hostname: string) => hostname.slice(0, 100).replace(/[^\x21-\x7e]/g, "?")
