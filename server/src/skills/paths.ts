import { MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES } from "./limits.ts"

/** Folders that registry clients or Git take orders from. */
const RESERVED_FOLDERS = new Set([".clawhub", ".clawdhub", ".git"])
/** Devices on Windows, with any extension: a bundle must unpack the same everywhere. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?$/
/** Control, invisible and direction-changing characters, private and unassigned ones, line and paragraph breaks. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u
const FORBIDDEN = /[<>:"|?*\\]/

/**
 * Why a file's path inside a bundle is refused; null when it is good. Good is a relative path that every system and tool
 * reads as the same file inside the bundle's folder.
 */
export function pathProblem(path: string): string | null {
  if (path === "") return "an empty name"
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return "a path that is too long"
  if (UNSEEN.test(path)) return "a control or invisible character in a name"
  if (path.startsWith("/") || path.startsWith("~")) return "an absolute path"
  if (FORBIDDEN.test(path)) return "a character in a name that not every system allows"
  const parts = path.split("/")
  if (parts.length > MAX_DEPTH) return "folders that are nested too deep"
  for (const part of parts) {
    const problem = partProblem(part)
    if (problem !== null) return problem
  }
  return null
}

function partProblem(part: string): string | null {
  if (part === "") return "an empty part in a path"
  const plain = part.normalize("NFKC")
  // Also what only becomes dots or a slash when a file system normalizes it, or a tool decodes it.
  if (plain === "." || plain === ".." || /[/\\:]/.test(plain)) return "a path that leaves its folder"
  if (/%(?:2e|2f|5c|00)/i.test(part)) return "an encoded path"
  if (/[. ]$/.test(plain) || plain.startsWith(" "))
    return "a name that begins with a space or ends with a dot or a space"
  if (Buffer.byteLength(part) > MAX_NAME_BYTES) return "a name that is too long"
  const folded = fold(part)
  if (RESERVED_FOLDERS.has(folded)) return `the reserved name ${folded}`
  if (DEVICE.test(folded)) return `the reserved name ${folded}`
  return null
}

/** Names that some file system holds to be one and the same have the same fold. */
export function fold(name: string): string {
  return name.normalize("NFKC").toLowerCase().toUpperCase().toLowerCase().normalize("NFKC")
}

/** Takes the paths of one bundle, one after the other, and finds those that would fall on each other. */
export function collisionFinder(): (path: string) => string | null {
  /** By fold: the spelling seen first, and what it was. */
  const seen = new Map<string, { path: string; kind: "file" | "folder" }>()
  const take = (path: string, kind: "file" | "folder") => {
    const key = fold(path)
    const known = seen.get(key)
    if (known === undefined) seen.set(key, { path, kind })
    return known === undefined || (kind === "folder" && known.kind === "folder" && known.path === path)
  }
  return (path) => {
    const parts = path.split("/")
    for (let i = 1; i < parts.length; i++) {
      if (!take(parts.slice(0, i).join("/"), "folder")) return "two names that some systems hold to be the same"
    }
    return take(path, "file") ? null : "two names that some systems hold to be the same"
  }
}
