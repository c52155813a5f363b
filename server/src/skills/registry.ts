import type { RegistrySkill } from "@autonomis/contract/skills.ts"
import { iso } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import { refused } from "./archive.ts"
import { MAX_FILES, MAX_UNPACKED_BYTES } from "./limits.ts"
import { pathProblem } from "./paths.ts"
import { Ambiguous, Detail, Search, Verdicts, VersionDetail } from "./registry-answers.ts"
import { type RegistryAnswer, type RegistryHttp, registryFailed } from "./registry-http.ts"
import type { FileDigest } from "./stored.ts"

/** One version of one publisher's skill: what an install is pinned to. */
export interface Pin {
  owner: string
  slug: string
  version: string
}

/** `clean` is the only one that installs without a word. `unknown`: the registry spoke of something else. */
export interface Verdict {
  status: "clean" | "suspicious" | "malicious" | "pending" | "error" | "not_found" | "unknown"
  reasons: string[]
}

export interface Registry {
  deadline(signal: AbortSignal): AbortSignal
  search(q: string, deadline: AbortSignal): Promise<Omit<RegistrySkill, "installed">[]>
  /** Errors: `not_found`, `ambiguous_skill` with `matches`, `malware`. */
  detail(slug: string, owner: string | null, deadline: AbortSignal): Promise<{ owner: string; latest: string | null }>
  /** In the order of `pins`, 100 at most. */
  verdicts(pins: readonly Pin[], deadline: AbortSignal): Promise<Verdict[]>
  /** What was published, and what the registry's own scan says of it. */
  published(pin: Pin, deadline: AbortSignal): Promise<{ files: FileDigest[]; verdict: Verdict | null }>
  /** The archive's bytes, and how many there will be where that was said; whoever reads them counts them. */
  download(pin: Pin, deadline: AbortSignal): Promise<{ body: ReadableStream<Uint8Array>; total: number | null }>
}

const STATUSES = ["clean", "suspicious", "malicious", "pending"] as const
const noSuchSkill = () => new AppError("not_found", "skill not found in the registry")
const noSuchVersion = () => new AppError("not_found", "the registry has no such version of this skill")
export const malware = () =>
  new AppError("malware", "the registry holds this skill to be malware; it is never installed")

export function createRegistry(http: RegistryHttp): Registry {
  const drop = (answer: RegistryAnswer) => answer.body?.cancel().catch(() => {})

  /** The statuses that mean the same wherever they come. */
  const expectOk = async (answer: RegistryAnswer, missing: () => AppError, deadline: AbortSignal) => {
    if (answer.status === 200) return
    if (answer.status === 409) throw await ambiguous(answer, deadline)
    await drop(answer)
    if (answer.status === 404 || answer.status === 410) throw missing()
    if (answer.status === 403) throw malware()
    if (answer.status === 423) throw registryFailed("holds this skill back for now")
    throw registryFailed(`answered with HTTP ${answer.status}`)
  }

  const ambiguous = async (answer: RegistryAnswer, deadline: AbortSignal): Promise<AppError> => {
    const message = "several publishers have a skill of this name; say which by owner"
    if (answer.contentType !== "application/json") {
      await drop(answer)
      return new AppError("ambiguous_skill", message, { extra: { matches: [] } })
    }
    const { matches } = await http.json(answer, Ambiguous, deadline)
    const shown = matches.map(({ ownerHandle, slug, url }) => ({ owner: ownerHandle, slug, url: url ?? null }))
    return new AppError("ambiguous_skill", message, { extra: { matches: shown } })
  }

  return {
    deadline: http.deadline,

    async search(q, deadline) {
      const answer = await http.request(`/search?${new URLSearchParams({ q, limit: "50" })}`, {}, deadline)
      await expectOk(answer, () => registryFailed("has no search"), deadline)
      const { results } = await http.json(answer, Search, deadline)
      return results
        .filter((result) => (result.source ?? "clawhub") === "clawhub")
        .map((result) => ({
          slug: result.slug,
          owner: result.ownerHandle ?? null,
          name: result.displayName ?? result.slug,
          summary: result.summary ?? null,
          version: result.version ?? null,
          downloads: Math.max(0, Math.trunc(result.downloads ?? 0)),
          updated_at: timeOf(result.updatedAt),
          verdict: result.trust?.clawHubVerdict ?? null,
        }))
    },

    async detail(slug, owner, deadline) {
      const answer = await http.request(`/skills/${slug}${query({ ownerHandle: owner })}`, {}, deadline)
      await expectOk(answer, noSuchSkill, deadline)
      const { skill, owner: found, latestVersion, moderation } = await http.json(answer, Detail, deadline)
      if (moderation?.isMalwareBlocked === true || moderation?.verdict === "malicious") throw malware()
      // Old names lead to the new ones, and so to something the caller did not ask for.
      if (skill.slug !== slug)
        throw new AppError("not_found", `this skill is now called ${skill.slug}; install that one`)
      if (!found) throw registryFailed("does not say who publishes this skill")
      if (owner !== null && found.handle.toLowerCase() !== owner)
        throw new AppError("not_found", `this publisher is now called ${found.handle}; install from that one`)
      return { owner: found.handle.toLowerCase(), latest: latestVersion?.version ?? null }
    },

    async verdicts(pins, deadline) {
      const items = pins.map(({ slug, owner, version }) => ({ slug, ownerHandle: owner, version }))
      const answer = await http.request("/skills/-/security-verdicts", { body: { items } }, deadline)
      await expectOk(answer, () => registryFailed("gives no verdicts"), deadline)
      const given = (await http.json(answer, Verdicts, deadline)).items
      return pins.map((pin, index) => {
        const item = given[index]
        return item !== undefined && concerns(item, pin) ? verdictOf(item) : { status: "unknown", reasons: [] }
      })
    },

    async published(pin, deadline) {
      const path = `/skills/${pin.slug}/versions/${encodeURIComponent(pin.version)}${query({ ownerHandle: pin.owner })}`
      const answer = await http.request(path, {}, deadline)
      await expectOk(answer, noSuchVersion, deadline)
      const { skill, version } = await http.json(answer, VersionDetail, deadline)
      if (version.version !== pin.version || (skill && skill.slug !== pin.slug))
        throw registryFailed("answered for another version")
      const files = version.files.map((file) => ({
        path: file.path,
        sizeBytes: file.size,
        sha256: file.sha256.toLowerCase(),
      }))
      judgeList(files)
      const status = version.security?.status
      return { files, verdict: status ? { status: known(status), reasons: [] } : null }
    },

    async download(pin, deadline) {
      const { slug, owner, version } = pin
      const answer = await http.request(`/download${query({ slug, ownerHandle: owner, version })}`, {}, deadline)
      await expectOk(answer, noSuchVersion, deadline)
      if (answer.contentType !== "application/zip" || answer.body === null) {
        await drop(answer)
        throw registryFailed("has no archive of this skill (it may be kept elsewhere, which is not supported)")
      }
      return { body: answer.body, total: answer.length }
    },
  }
}

type VerdictItem = (typeof Verdicts)["_output"]["items"][number]

/** Was this said of the very version that we asked about? */
function concerns(item: VerdictItem, pin: Pin): boolean {
  const same = (value: string | null | undefined, wanted: string) => value == null || value.toLowerCase() === wanted
  if (!same(item.requestedSlug, pin.slug) || (item.requestedVersion ?? pin.version) !== pin.version) return false
  if (!item.ok && item.version == null) return true
  return (
    same(item.slug, pin.slug) && same(item.publisherHandle, pin.owner) && (item.version ?? pin.version) === pin.version
  )
}

function verdictOf(item: VerdictItem): Verdict {
  const reasons = item.reasons ?? []
  const status = item.security?.status ?? null
  if (reasons.includes("moderation.malware_blocked") || status === "malicious") return { status: "malicious", reasons }
  if (reasons.some((reason) => /^(?:skill|version)\.(?:not_found|unavailable)$/.test(reason)))
    return { status: "not_found", reasons }
  if (item.ok && item.decision === "pass") return { status: status === null ? "error" : known(status), reasons }
  // A "fail" never counts as clean, whatever else it says.
  const judged = status === null ? "error" : known(status)
  return { status: judged === "clean" ? "suspicious" : judged, reasons }
}

const known = (status: string): Verdict["status"] => STATUSES.find((one) => one === status) ?? "error"

/** A list that we would refuse as an archive is refused before anything is downloaded. */
function judgeList(files: readonly FileDigest[]): void {
  if (files.length > MAX_FILES) throw refused(`it has more than ${MAX_FILES} files`)
  if (files.reduce((sum, file) => sum + file.sizeBytes, 0) > MAX_UNPACKED_BYTES)
    throw refused(`it is over ${MAX_UNPACKED_BYTES / 1024 / 1024} MiB`)
  for (const { path } of files) {
    const problem = pathProblem(path)
    if (problem !== null) throw refused(problem)
  }
  if (new Set(files.map((file) => file.path)).size < files.length) throw refused("it lists a file twice")
}

function query(parameters: Record<string, string | null>): string {
  const set = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== null)
  return set.length === 0 ? "" : `?${new URLSearchParams(set)}`
}

/** Not every number is a time that can be written. */
function timeOf(ms: number | null | undefined): string | null {
  return ms != null && Math.abs(ms) < 8.64e15 ? iso(Math.trunc(ms)) : null
}
