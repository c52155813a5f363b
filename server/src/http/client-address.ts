import { isIP } from "node:net"

/** An address as it should be written down: no IPv6 spelling of an IPv4 address, no zone. */
export function plainAddress(ip: string): string {
  const [address = ""] = ip.split("%", 1)
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
}

/**
 * The address that a request came from. `claimed` is what trusted proxies say; when it is no address (a proxy handed on
 * what its client wrote), the connection's own counts.
 */
export function clientAddress(claimed: string | undefined, socket: string | undefined): string | null {
  const best = claimed !== undefined && isIP(claimed) !== 0 ? claimed : socket
  return best === undefined ? null : plainAddress(best)
}
