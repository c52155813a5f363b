import type { RegistrySkill, Skill } from "@autonomis/contract/skills.ts"
import type { Database } from "../db/database.ts"
import type { Origin } from "../http/endpoint.ts"
import { type Clock, iso } from "../lib/clock.ts"
import { AppError, messageOf } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import { fromSkillMd, fromZip, receive } from "./bundle.ts"
import { skillFolders } from "./folder.ts"
import { checkId, createInstall, type InstallRequest } from "./install.ts"
import { createKeeper, noSuchSkill, type User } from "./keeper.ts"
import { createLatestVersions, latestKey } from "./latest.ts"
import { MAX_ARCHIVE_BYTES } from "./limits.ts"
import { offer, type Surroundings } from "./offer.ts"
import type { TellStage } from "./progress.ts"
import { createPromptSkills, type PromptSkills } from "./prompt.ts"
import { createRecheck, type RecheckResult } from "./recheck.ts"
import type { Registry } from "./registry.ts"
import { type SkillWithFiles, skillStore } from "./store.ts"

export interface SkillsOptions {
  db: Database
  dataDir: string
  clock: Clock
  log: Logger
  registry: Registry
  registryUrl: string
  /** The secrets that commands of a user's sandboxes see: of one agent, or of any when null. */
  secretKeys: (userId: string, agentId: string | null) => Promise<readonly string[]>
  /** `sandbox`: mounted at `/skills`. `host`: where commands run without a sandbox and find them in the data folder. */
  seenIn: "sandbox" | "host"
  /** The programs on a sandbox's PATH. */
  binaries: () => Promise<ReadonlySet<string>>
  /** 403 `plan_limit` when so many more bytes do not fit the user's plan. */
  ensureStorage: (userId: string, moreBytes: number) => Promise<void>
  /** What the user keeps may be less than was thought. */
  storageChanged: (userId: string) => void
}

export interface Kept {
  skill: Skill
  created: boolean
}

/** A user's skills: every agent of the user sees them. */
export interface Skills {
  list(user: User, signal: AbortSignal): Promise<Skill[]>
  /** The bytes of a skill's SKILL.md. */
  read(user: User, id: string): Promise<Buffer>
  upload(
    user: User,
    id: string,
    body: { kind: "markdown" | "zip"; bytes: AsyncIterable<Uint8Array> },
    origin: Origin,
    signal: AbortSignal,
    tell?: TellStage,
  ): Promise<Kept>
  remove(user: User, id: string, origin: Origin): Promise<void>
  search(user: User, q: string, signal: AbortSignal): Promise<RegistrySkill[]>
  install(
    user: User,
    slug: string,
    request: InstallRequest,
    origin: Origin,
    signal: AbortSignal,
    tell?: TellStage,
  ): Promise<Kept>
  /** What the model is told, for one agent. Reads two small queries. */
  forPrompt: PromptSkills["list"]
  /** Changes whenever `forPrompt` does: sessions then take a new snapshot of their prompt. */
  version: PromptSkills["version"]
  /** The skill that a user's message calls by `/name`; null when it calls none. */
  called: PromptSkills["called"]
  /** The read-only mount of every sandbox of the user; stands from then on, so that later changes show in it. */
  mount(userId: string): Promise<{ source: string; target: string }>
  /** What the user's skills take of the plan's storage. */
  bytes(userId: string): Promise<number>
  /** Asks the registry again about all that is installed. */
  recheck(signal: AbortSignal): Promise<RecheckResult>
  /** As `recheck`, but only if no server did it in the last 20 hours. */
  recheckIfDue(signal: AbortSignal): Promise<void>
  /** The user is being deleted: resolves when nothing more is written for them. */
  endUser(userId: string): Promise<void>
  /** Mends what a crash left, of every user. Once, after the start. */
  sweep(signal: AbortSignal): Promise<void>
}

type Found = Omit<RegistrySkill, "installed">

/** Where a user's skills are in every sandbox of theirs. */
const SANDBOX_TARGET = "/skills"
const DUE_MS = 20 * 60 * 60 * 1000
const tellNobody: TellStage = () => {}

export function createSkills(options: SkillsOptions): Skills {
  const { db, dataDir, clock, log, registry, registryUrl, secretKeys, binaries } = options
  const store = skillStore(db)
  const folders = skillFolders(dataDir)
  const keeper = createKeeper({ ...options, store, folders })
  const installFrom = createInstall({ registry, registryUrl, store, keeper, clock })
  const recheck = createRecheck({ registry, store, keeper, clock })
  const latest = createLatestVersions(registry, clock)
  const surroundings = async (userId: string, agentId: string | null): Promise<Surroundings> => {
    const [secrets, programs] = await Promise.all([secretKeys(userId, agentId), binaries()])
    return { secrets: new Set(secrets), binaries: programs }
  }
  const targetOf = (userId: string) => (options.seenIn === "host" ? folders.shown(userId) : SANDBOX_TARGET)
  const prompts = createPromptSkills(store, surroundings, targetOf)
  const kept = async (user: User, { row, created }: { row: SkillWithFiles; created: boolean }): Promise<Kept> => ({
    skill: viewOf(row, await surroundings(user.id, null), row.info.provenance?.latestVersion ?? null),
    created,
  })
  /** With the verdicts on those versions, where the registry's search says none. Without them a search is still one. */
  const judged = async (found: readonly Found[], deadline: AbortSignal): Promise<readonly Found[]> => {
    const pins = found.flatMap(({ owner, slug, version, verdict }) =>
      owner === null || version === null || verdict !== null ? [] : [{ owner: owner.toLowerCase(), slug, version }],
    )
    if (pins.length === 0) return found
    const verdicts = await registry.verdicts(pins, deadline).catch(() => [])
    const known = new Map(pins.map((pin, i) => [latestKey(pin), verdicts[i]?.status]))
    return found.map((one) => {
      const status = one.owner === null ? undefined : known.get(latestKey({ ...one, owner: one.owner.toLowerCase() }))
      return status === undefined || status === "unknown" || status === "not_found" ? one : { ...one, verdict: status }
    })
  }
  /** Users whose folder is known to match their rows, so that no sandbox opens on what a crash left. */
  const settled = new Map<string, Promise<void>>()
  const settleOnce = (userId: string): Promise<void> => {
    const known = settled.get(userId)
    if (known !== undefined) return known
    const settling = keeper.settle(userId)
    settled.set(userId, settling)
    settling.catch(() => settled.delete(userId))
    return settling
  }

  return {
    async list(user, signal) {
      const rows = await store.allWithFiles(user.id)
      if (rows.length === 0) return []
      const installed = rows.flatMap(({ slug, info }) =>
        info.provenance ? [{ owner: info.provenance.owner, slug }] : [],
      )
      const [around, newest] = await Promise.all([surroundings(user.id, null), latest.of(installed, signal)])
      return rows.map((row) => {
        const { provenance } = row.info
        if (provenance === null) return viewOf(row, around, null)
        const known = newest.get(latestKey({ owner: provenance.owner, slug: row.slug }))
        return viewOf(row, around, known ?? provenance.latestVersion)
      })
    },

    async read(user, id) {
      for (let attempt = 1; ; attempt++) {
        const row = await store.bySlug(user.id, id)
        if (row === null) throw noSuchSkill()
        try {
          await using file = await folders.open(user.id, row.info.bundle, "SKILL.md")
          return await file.readFile()
        } catch (error) {
          // Replaced between the two looks.
          if (attempt === 2) throw error
        }
      }
    },

    async upload(user, id, { kind, bytes }, origin, signal, tell = tellNobody) {
      checkId(id)
      const result = await keeper.staged(user.id, async (staging) => {
        await receive(bytes, staging, MAX_ARCHIVE_BYTES, signal)
        const bundle = kind === "markdown" ? await fromSkillMd(staging, tell) : await fromZip(staging, signal, tell)
        if (bundle.header.name !== id)
          throw new AppError(
            "invalid_request",
            `SKILL.md is named ${bundle.header.name}; that must be the skill's id, ${id}`,
          )
        const changes = [{ action: "skills.upload", target: `skill:${user.name}/${id}` }]
        return keeper.keep(user, id, staging, bundle, { provenance: null, changes, origin })
      })
      return kept(user, result)
    },

    remove: (user, id, origin) =>
      keeper.remove(user, id, { action: "skills.delete", target: `skill:${user.name}/${id}` }, origin),

    async search(user, q, signal) {
      const deadline = registry.deadline(signal)
      const found = await judged(await registry.search(q, deadline), deadline)
      const rows = await store.all(user.id)
      const owners = new Map(rows.map(({ slug, info }) => [slug, info.provenance?.owner]))
      return found.map((skill) => ({
        ...skill,
        installed: skill.owner !== null && owners.get(skill.slug) === skill.owner.toLowerCase(),
      }))
    },

    async install(user, slug, request, origin, signal, tell = tellNobody) {
      return kept(user, await installFrom(user, slug, request, origin, signal, tell))
    },

    forPrompt: prompts.list,
    version: prompts.version,
    called: prompts.called,

    async mount(userId) {
      await settleOnce(userId)
      return { source: folders.shown(userId), target: targetOf(userId) }
    },

    bytes: (userId) => store.bytes(userId),
    recheck,

    async recheckIfDue(signal) {
      const now = clock.now()
      const turn = await store.takeTurn("skills.recheck", now, now - DUE_MS)
      if (turn === null) return
      try {
        const result = await recheck(signal)
        if (result.quarantined > 0) log.warn("installed skills were judged malicious and put away", { ...result })
      } catch (error) {
        await turn.giveBack()
        throw error
      }
    },

    async endUser(userId) {
      settled.delete(userId)
      await keeper.quiet(userId)
    },

    async sweep(signal) {
      for (const userId of await folders.users()) {
        if (signal.aborted) return
        try {
          await folders.clearStaging(userId)
          if (await folders.exists(userId)) await settleOnce(userId)
        } catch (error) {
          log.warn("a user's skills folder could not be mended", { userId, error: messageOf(error) })
        }
      }
    },
  }
}

function viewOf(row: SkillWithFiles, around: Surroundings, latestVersion: string | null): Skill {
  const { header, provenance, sha256, installedAt } = row.info
  const { state, missing, reason } = offer(row.info, around)
  return {
    id: row.slug,
    name: header.name,
    description: header.description,
    source: provenance === null ? "upload" : "clawhub",
    owner: provenance?.owner ?? null,
    version: provenance?.version ?? null,
    latest_version: latestVersion,
    sha256,
    size_bytes: row.sizeBytes,
    files: row.files.map((file) => file.path),
    requires: { env: header.requires.env, bins: header.requires.bins },
    missing,
    state,
    reason,
    installed_at: iso(installedAt),
    provenance: provenance && {
      registry: provenance.registry,
      verdict: provenance.verdict,
      reasons: provenance.reasons,
      checked_at: iso(provenance.checkedAt),
      risk_accepted: provenance.riskAccepted,
    },
  }
}
