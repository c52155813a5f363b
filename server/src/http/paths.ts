import type { Endpoint } from "@autonomis/contract/endpoint.ts"

export const BASE_PATH = "/api/v1"

/** An endpoint's whole path, parameters as the contract writes them. */
export const fullPath = (endpoint: Endpoint): string => (endpoint.versioned ? BASE_PATH : "") + endpoint.path

/** The same as the router writes it. A path that takes the rest stands also where there is no rest, not even its slash. */
export function routerPaths(endpoint: Endpoint): string[] {
  const path = fullPath(endpoint).replace(/\{(\w+)\}/g, ":$1")
  const bare = path.replace(/\/\{\w+\*\}$/, "")
  return bare === path ? [path] : [`${bare}/*`, bare]
}

/** Nothing to decode and nothing to escape. */
export const isPlain = (url: string): boolean => PLAIN.test(url)

/** The path of a request target, without query; an absolute URL (as to a proxy) counts as its path. */
export function pathOf(url: string): string {
  if (PLAIN.test(url)) return url
  const local = url.startsWith("/") ? url : url.replace(/^https?:\/\/[^/?#]*/i, "")
  return local.split(/[?#]/, 1)[0] ?? ""
}

/** The decoded parts of a path; null when an escape in it is broken. */
export function partsOf(path: string): string[] | null {
  try {
    return path.slice(1).split("/").map(decodeURIComponent)
  } catch {
    return null
  }
}

/** Nothing to decode, and no part that begins with a dot: nearly every path there is. */
const PLAIN = /^(?:\/[\w~-][\w.~-]*)+$/

/** `.`, `..`, NUL, a backslash, an encoded slash or a broken escape: never part of a good path. No NUL in a query either. */
export function urlIsValid(url: string): boolean {
  if (PLAIN.test(url)) return true
  const path = pathOf(url)
  if (!path.startsWith("/") || path.startsWith("//") || url.includes("%00")) return false
  return partsOf(path)?.some((part) => part === "." || part === ".." || /[\0\\/]/.test(part)) === false
}

/** Which endpoints stand at a path, whatever the method. */
export type PathTable = (path: string) => readonly Endpoint[]

export function pathTable(endpoints: readonly Endpoint[]): PathTable {
  const byPattern = new Map<string, Endpoint[]>()
  for (const endpoint of endpoints) {
    const pattern = fullPath(endpoint)
      .replace(/[.]/g, "\\.")
      .replace(/\/\{\w+\*\}$/, "(?:/.*)?")
      .replace(/\{\w+\}/g, "[^/]+")
    byPattern.set(pattern, [...(byPattern.get(pattern) ?? []), endpoint])
  }
  const entries = [...byPattern].map(([pattern, at]) => ({ pattern: new RegExp(`^${pattern}$`), at }))
  return (path) => entries.filter(({ pattern }) => pattern.test(path)).flatMap(({ at }) => at)
}

/** The methods for an `Allow` header. */
export function allowOf(endpoints: readonly Endpoint[]): string {
  const methods = new Set<string>(["OPTIONS"])
  for (const { method } of endpoints) {
    methods.add(method)
    if (method === "GET") methods.add("HEAD")
  }
  return [...methods].sort().join(", ")
}
