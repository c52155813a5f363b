import { SkillId } from "@autonomis/contract/skills.ts"
import type { Origin } from "../http/endpoint.ts"
import type { Clock } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import { refused } from "./archive.ts"
import { fromRegistryZip, receive } from "./bundle.ts"
import type { Staging } from "./folder.ts"
import { type Change, checkReplaces, type Keeper, type User } from "./keeper.ts"
import { MAX_ARCHIVE_BYTES } from "./limits.ts"
import { counted, type TellStage } from "./progress.ts"
import { malware, type Pin, type Registry, type Verdict } from "./registry.ts"
import { failure, registryFailed } from "./registry-http.ts"
import type { SkillStore, SkillWithFiles } from "./store.ts"

export interface InstallOptions {
  registry: Registry
  /** Its address, for the provenance. */
  registryUrl: string
  store: SkillStore
  keeper: Keeper
  clock: Clock
}

export interface InstallRequest {
  owner?: string | undefined
  version?: string | undefined
  accept_risk?: boolean | undefined
}

export type Install = (
  user: User,
  slug: string,
  request: InstallRequest,
  origin: Origin,
  signal: AbortSignal,
  tell: TellStage,
) => Promise<{ row: SkillWithFiles; created: boolean }>

export const checkId = (id: string): void => {
  const parsed = SkillId.safeParse(id)
  if (!parsed.success)
    throw new AppError("invalid_request", `the skill's id is not valid: ${parsed.error.issues[0]?.message}`)
}

/**
 * Installs a skill in the order that can be trusted: pin owner and version, ask for the verdict, learn which files were
 * published, download, and keep only what is byte for byte those files.
 */
export function createInstall({ registry, registryUrl, store, keeper, clock }: InstallOptions): Install {
  return async (user, slug, request, origin, signal, tell) => {
    checkId(slug)
    const before = await store.bySlug(user.id, slug)
    const standing = before?.info.provenance?.owner ?? null
    if (before !== null && (standing === null || request.owner !== undefined))
      checkReplaces(before, request.owner ?? "")

    tell("resolving")
    const deadline = registry.deadline(signal)
    const { owner, latest } = await registry.detail(slug, request.owner ?? standing, deadline)
    checkReplaces(before, owner)
    const version = request.version ?? latest
    if (version === null) throw new AppError("not_found", "the registry has no version of this skill")
    const pin: Pin = { owner, slug, version }

    const accepted = request.accept_risk === true
    const [judged] = await registry.verdicts([pin], deadline)
    if (judged === undefined) throw new Error("a verdict for each pin")
    gate(pin, judged, accepted)
    const { files, verdict: scanned } = await registry.published(pin, deadline)
    if (scanned !== null) gate(pin, scanned, accepted)
    const verdict = scanned !== null && judged.status === "clean" ? scanned : judged
    const checkedAt = clock.now()

    return keeper.staged(user.id, async (staging) => {
      await download(pin, staging, deadline, tell)
      const bundle = await fromRegistryZip(staging, files, signal, tell)
      if (bundle.header.name !== slug) throw refused(`its SKILL.md is named ${bundle.header.name}, not ${slug}`)
      const risky = verdict.status !== "clean"
      const target = `skill:${user.name}/${slug} ${owner}/${slug}@${version}`
      const changes: Change[] = [{ action: "skills.install", target }]
      if (risky) changes.push({ action: "skills.accept_risk", target: `${target} (${verdict.status})` })
      const provenance = {
        registry: registryUrl,
        owner,
        version,
        verdict: verdict.status,
        reasons: verdict.reasons,
        checkedAt,
        riskAccepted: risky,
        latestVersion: latest,
      }
      return keeper.keep(user, slug, staging, bundle, { provenance, changes, origin })
    })
  }

  async function download(pin: Pin, staging: Staging, deadline: AbortSignal, tell: TellStage): Promise<void> {
    try {
      const { body, total } = await registry.download(pin, deadline)
      await receive(counted(body, total, tell), staging, MAX_ARCHIVE_BYTES, deadline)
    } catch (error) {
      if (error instanceof AppError && error.code === "too_large") throw refused("the archive is too large")
      throw failure(error, deadline)
    }
  }
}

/** Malware never; anything but clean only by a word of the user. */
function gate({ owner, slug, version }: Pin, { status, reasons }: Verdict, accepted: boolean): void {
  if (status === "malicious") throw malware()
  if (status === "not_found") throw new AppError("not_found", "the registry has no such version of this skill")
  if (status === "unknown") throw registryFailed("gave a verdict on something else")
  if (status === "clean" || accepted) return
  const held =
    status === "pending"
      ? "has not judged it yet"
      : status === "error"
        ? "could not judge it"
        : "holds it to be suspicious"
  throw new AppError("needs_accept_risk", `the registry ${held}; send accept_risk: true to install it all the same`, {
    extra: { verdict: { status, reasons }, skill: { owner, slug, version } },
  })
}
